// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ModelRegistry} from "../ModelRegistry.sol";
import {Model} from "../interfaces/IModelRegistry.sol";
import {Decoder, Sizes} from "./support/Decoder.sol";
import {Descriptors, Step} from "./support/Descriptors.sol";
import {ProgramsTest} from "./support/Programs.sol";

/// What registering real shapes costs, as a transaction of its own.
contract RegistryGasTest is ProgramsTest {
    /// Most that one transaction may use (EIP-7825).
    uint256 private constant TRANSACTION_MAX = 1 << 24;

    function test_gas_register() public {
        _measure("register, SmolLM2, 726 steps", 3_000_000, Decoder.smolLm2());
        _measure("register, 13B, 966 steps", 5_000_000, Decoder.of13B());
        Sizes memory large = Decoder.of13B();
        (large.layers, large.width, large.heads, large.kv) = (80, 8192, 64, 8);
        _measure("register, 70B, 1,926 steps", TRANSACTION_MAX, large);
    }

    function _measure(string memory name, uint256 most, Sizes memory sizes) private {
        (Step[] memory steps, Model memory m) = Decoder.build(sizes);
        bytes memory program = Descriptors.pack(steps);
        bytes memory data = abi.encodeCall(ModelRegistry.register, (m, program));
        uint256 before = gasleft();
        registry.register(m, program);
        uint256 gas = _transaction(data, before - gasleft());
        assertTrue(gas <= most, name);
        vm.snapshotValue("registry", name, gas);
        before = gasleft();
        registry.register(m, program);
        gas = before - gasleft();
        assertTrue(gas < 20_000, "registered already");
    }

    /// Gas of a transaction with this calldata whose execution costs that much: at least the
    /// calldata's floor (EIP-7623).
    function _transaction(bytes memory data, uint256 execution) private pure returns (uint256) {
        uint256 tokens = data.length;
        for (uint256 i = 0; i < data.length; ++i) {
            if (data[i] != 0) tokens += 3;
        }
        uint256 standard = 4 * tokens + execution;
        return 21_000 + (standard < 10 * tokens ? 10 * tokens : standard);
    }
}
