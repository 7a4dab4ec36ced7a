// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// The cheat codes of forge that the tests use.
interface Vm {
    function warp(uint256 timestamp) external;
    function roll(uint256 number) external;
    function deal(address account, uint256 balance) external;
    function prank(address sender) external;
    function startPrank(address sender) external;
    function stopPrank() external;
    function assume(bool condition) external pure;
    function expectRevert() external;
    function expectRevert(bytes4 selector) external;
    function expectRevert(bytes calldata data) external;
    function expectEmit(bool topic1, bool topic2, bool topic3, bool data) external;
    function label(address account, string calldata name) external;
    function addr(uint256 key) external pure returns (address);
    function toString(uint256 value) external pure returns (string memory);
    function toString(int256 value) external pure returns (string memory);
    function getBlockTimestamp() external view returns (uint256);
    function snapshotValue(string calldata group, string calldata name, uint256 value) external;
    function readFile(string calldata path) external view returns (string memory);
    function getCode(string calldata artifact) external view returns (bytes memory);
}

/// What the tests share: assertions that revert with both values. forge calls a test failed when it
/// reverts, so nothing more is needed.
abstract contract Test {
    error NotEqualUint(uint256 left, uint256 right, string what);
    error NotEqualInt(int256 left, int256 right, string what);
    error NotEqualBytes32(bytes32 left, bytes32 right, string what);
    error NotEqualAddress(address left, address right, string what);
    error NotTrue(string what);

    event log_named_uint(string key, uint256 value);
    event log_named_int(string key, int256 value);
    event log_named_bytes32(string key, bytes32 value);

    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// forge looks for this function to tell a test contract.
    bool public IS_TEST = true;

    /// Deploys a contract as it was compiled. A test that says `new` instead carries a copy of its
    /// code, and the compiler spends a minute on each.
    function deployed(string memory artifact, bytes memory arguments)
        internal
        returns (address contract_)
    {
        (contract_,) = created(artifact, arguments);
        assertTrue(contract_ != address(0), artifact);
    }

    /// The same, or the reason why its constructor refused.
    function created(string memory artifact, bytes memory arguments)
        internal
        returns (address contract_, bytes memory reason)
    {
        bytes memory code = bytes.concat(vm.getCode(artifact), arguments);
        assembly ("memory-safe") {
            contract_ := create(0, add(code, 32), mload(code))
            reason := mload(0x40)
            mstore(reason, returndatasize())
            returndatacopy(add(reason, 32), 0, returndatasize())
            mstore(0x40, and(add(add(reason, returndatasize()), 63), not(31)))
        }
    }

    function assertEq(uint256 left, uint256 right, string memory what) internal pure {
        if (left != right) revert NotEqualUint(left, right, what);
    }

    function assertEq(int256 left, int256 right, string memory what) internal pure {
        if (left != right) revert NotEqualInt(left, right, what);
    }

    function assertEq(bytes32 left, bytes32 right, string memory what) internal pure {
        if (left != right) revert NotEqualBytes32(left, right, what);
    }

    function assertEq(address left, address right, string memory what) internal pure {
        if (left != right) revert NotEqualAddress(left, right, what);
    }

    function assertEq(uint256 left, uint256 right) internal pure {
        assertEq(left, right, "");
    }

    function assertEq(int256 left, int256 right) internal pure {
        assertEq(left, right, "");
    }

    function assertEq(bytes32 left, bytes32 right) internal pure {
        assertEq(left, right, "");
    }

    function assertEq(address left, address right) internal pure {
        assertEq(left, right, "");
    }

    function assertTrue(bool condition, string memory what) internal pure {
        if (!condition) revert NotTrue(what);
    }

    function assertTrue(bool condition) internal pure {
        assertTrue(condition, "");
    }

    /// Brings a fuzzed value into [low, high].
    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        if (low > high) revert NotTrue("bound: low <= high");
        if (value >= low && value <= high) return value;
        uint256 size = high - low + 1;
        return size == 0 ? value : low + (value % size);
    }
}
