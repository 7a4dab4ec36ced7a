// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    EMBED,
    RMS_NORM,
    QUANTIZE,
    LINEAR,
    ROPE,
    SCORES,
    MAX,
    PROBS,
    SUM,
    MIX,
    SWIGLU,
    COLLECT,
    SAMPLE
} from "../../libraries/Descriptor.sol";
import {Trees} from "./Trees.sol";

/// A descriptor field by field, for tests that write programs or break them.
struct Step {
    uint8 op;
    uint8 format;
    uint16 in0;
    uint16 in1;
    uint16 in2;
    uint32 n;
    uint32 k;
    uint32 groups;
    uint32 kv;
    uint32 w;
    uint32 b;
    uint32 c0;
    uint32 c1;
    uint32 c2;
    uint32 slot;
    uint128 rest;
}

/// Descriptors of each op, their unused fields empty.
library Descriptors {
    uint16 internal constant NONE = type(uint16).max;
    uint32 internal constant NO_LEAF = type(uint32).max;

    function empty(uint256 op) internal pure returns (Step memory s) {
        s.op = uint8(op);
        (s.in0, s.in1, s.in2) = (NONE, NONE, NONE);
        (s.w, s.b) = (NO_LEAF, NO_LEAF);
    }

    function embed(uint256 format, uint32 n, uint32 vocabulary, uint32 w)
        internal
        pure
        returns (Step memory s)
    {
        s = empty(EMBED);
        s.format = uint8(format);
        (s.n, s.k, s.groups, s.w) = (n, n, vocabulary, w);
    }

    function rmsNorm(uint16 x, uint32 n, uint32 w, uint32 eps, int32 exponent)
        internal
        pure
        returns (Step memory s)
    {
        s = empty(RMS_NORM);
        (s.in0, s.n, s.w, s.c0, s.c1) = (x, n, w, eps, uint32(exponent));
    }

    function quantize(uint16 x, uint32 n, uint32 groups, uint32 bits, uint32 slot)
        internal
        pure
        returns (Step memory s)
    {
        s = empty(QUANTIZE);
        (s.in0, s.n, s.groups, s.c0, s.slot) = (x, n, groups, bits, slot);
    }

    function linear(uint256 format, uint16 x, uint32 n, uint32 k, uint32 w)
        internal
        pure
        returns (Step memory s)
    {
        s = empty(LINEAR);
        s.format = uint8(format);
        (s.in0, s.n, s.k, s.w) = (x, n, k, w);
    }

    function rope(uint16 x, uint32 n, uint32 k, uint32 rotated, uint32 w)
        internal
        pure
        returns (Step memory s)
    {
        s = empty(ROPE);
        (s.in0, s.n, s.k, s.c0, s.w) = (x, n, k, rotated, w);
    }

    function scores(
        uint16 q,
        uint16 own,
        uint32 heads,
        uint32 kv,
        uint32 k,
        uint32 scale,
        uint32 index
    ) internal pure returns (Step memory s) {
        s = empty(SCORES);
        (s.in0, s.in1, s.groups, s.kv, s.k, s.c0, s.c1) = (q, own, heads, kv, k, scale, index);
    }

    function max(uint16 x, uint32 heads) internal pure returns (Step memory s) {
        s = empty(MAX);
        (s.in0, s.groups) = (x, heads);
    }

    function probs(uint16 x, uint16 top, uint32 heads) internal pure returns (Step memory s) {
        s = empty(PROBS);
        (s.in0, s.in1, s.groups) = (x, top, heads);
    }

    function sum(uint16 x, uint32 heads) internal pure returns (Step memory s) {
        s = empty(SUM);
        (s.in0, s.groups) = (x, heads);
    }

    function mix(uint16 p, uint16 z, uint16 own, uint32 heads, uint32 kv, uint32 k, uint32 index)
        internal
        pure
        returns (Step memory s)
    {
        s = empty(MIX);
        (s.in0, s.in1, s.in2, s.groups, s.kv, s.k, s.c1) = (p, z, own, heads, kv, k, index);
    }

    function swiGlu(uint16 gate, uint16 up, uint32 n) internal pure returns (Step memory s) {
        s = empty(SWIGLU);
        (s.in0, s.in1, s.n) = (gate, up, n);
    }

    function collect(uint32 carried) internal pure returns (Step memory s) {
        s = empty(COLLECT);
        s.n = carried;
    }

    function sample(uint16 logits, uint32 vocabulary) internal pure returns (Step memory s) {
        s = empty(SAMPLE);
        (s.in0, s.k, s.n) = (logits, vocabulary, 1);
    }

    function words(Step memory s) internal pure returns (bytes32 d0, bytes32 d1) {
        bytes memory packed = abi.encodePacked(
            abi.encodePacked(s.op, s.format, s.in0, s.in1, s.in2, s.n, s.k, s.groups, s.kv),
            abi.encodePacked(s.w, s.b, s.c0, s.c1, s.c2, s.slot, s.rest)
        );
        return abi.decode(packed, (bytes32, bytes32));
    }

    /// As `register` takes them.
    function pack(Step[] memory steps) internal pure returns (bytes memory program) {
        program = new bytes(64 * steps.length);
        for (uint256 i = 0; i < steps.length; ++i) {
            (bytes32 d0, bytes32 d1) = words(steps[i]);
            assembly ("memory-safe") {
                let to := add(add(program, 32), shl(6, i))
                mstore(to, d0)
                mstore(add(to, 32), d1)
            }
        }
    }

    /// The leaves of a packed program's tree.
    function leaves(bytes memory program) internal pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](program.length / 64);
        for (uint256 i = 0; i < hashes.length; ++i) {
            bytes32 d0;
            bytes32 d1;
            assembly ("memory-safe") {
                let from := add(add(program, 32), shl(6, i))
                d0 := mload(from)
                d1 := mload(add(from, 32))
            }
            hashes[i] = Trees.leaf(abi.encodePacked(d0, d1));
        }
    }
}
