// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// The two words of an op's descriptor (kernels/README.md, "Descriptors"): every field big-endian
/// at a fixed place.
type Word0 is bytes32;
type Word1 is bytes32;

using {opcode, format, in0, in1, in2, n, k, groups, kv, weights, bias} for Word0 global;
using {c0, c1, c1Signed, c2, slot} for Word1 global;

uint8 constant EMBED = 0;
uint8 constant RMS_NORM = 1;
uint8 constant QUANTIZE = 2;
uint8 constant LINEAR = 3;
uint8 constant ROPE = 4;
uint8 constant SCORES = 5;
uint8 constant MAX = 6;
uint8 constant PROBS = 7;
uint8 constant SUM = 8;
uint8 constant MIX = 9;
uint8 constant SWIGLU = 10;
uint8 constant COLLECT = 11;
uint8 constant SAMPLE = 12;

// An unused reference to a step.
uint256 constant NO_STEP = 0xffff;
// An unused base leaf.
uint256 constant NO_LEAF = 0xffffffff;

/// A descriptor that no program has any use for: an unknown op, a dimension of zero, heads that
/// don't divide.
error BadDescriptor(bytes32 d0, bytes32 d1);

function opcode(Word0 w) pure returns (uint256) {
    return uint256(Word0.unwrap(w)) >> 248;
}

function format(Word0 w) pure returns (uint256) {
    return (uint256(Word0.unwrap(w)) >> 240) & 0xff;
}

function in0(Word0 w) pure returns (uint256) {
    return (uint256(Word0.unwrap(w)) >> 224) & 0xffff;
}

function in1(Word0 w) pure returns (uint256) {
    return (uint256(Word0.unwrap(w)) >> 208) & 0xffff;
}

function in2(Word0 w) pure returns (uint256) {
    return (uint256(Word0.unwrap(w)) >> 192) & 0xffff;
}

/// Elements of the output, for most ops.
function n(Word0 w) pure returns (uint256) {
    return (uint256(Word0.unwrap(w)) >> 160) & 0xffffffff;
}

/// Columns of a matrix, size of a head.
function k(Word0 w) pure returns (uint256) {
    return (uint256(Word0.unwrap(w)) >> 128) & 0xffffffff;
}

/// Heads of attention, groups of a quantized tensor, vocabulary of an embedding.
function groups(Word0 w) pure returns (uint256) {
    return (uint256(Word0.unwrap(w)) >> 96) & 0xffffffff;
}

/// KV heads.
function kv(Word0 w) pure returns (uint256) {
    return (uint256(Word0.unwrap(w)) >> 64) & 0xffffffff;
}

/// Base leaf of the weights.
function weights(Word0 w) pure returns (uint256) {
    return (uint256(Word0.unwrap(w)) >> 32) & 0xffffffff;
}

/// Base leaf of the bias.
function bias(Word0 w) pure returns (uint256) {
    return uint256(Word0.unwrap(w)) & 0xffffffff;
}

function c0(Word1 w) pure returns (uint256) {
    return uint256(Word1.unwrap(w)) >> 224;
}

function c1(Word1 w) pure returns (uint256) {
    return (uint256(Word1.unwrap(w)) >> 192) & 0xffffffff;
}

function c1Signed(Word1 w) pure returns (int256) {
    return int256(int32(uint32(c1(w))));
}

function c2(Word1 w) pure returns (uint256) {
    return (uint256(Word1.unwrap(w)) >> 160) & 0xffffffff;
}

/// Carried tensor + 1, or 0.
function slot(Word1 w) pure returns (uint256) {
    return (uint256(Word1.unwrap(w)) >> 128) & 0xffffffff;
}
