// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DisputeGame} from "../DisputeGame.sol";
import {IClaims} from "../interfaces/IClaims.sol";
import {IDisputeGame, State, Subject} from "../interfaces/IDisputeGame.sol";
import {Statement, TensorShape} from "../interfaces/IStepVerifier.sol";
import {GameTree} from "../libraries/GameTree.sol";
import {Merkle} from "../libraries/Merkle.sol";
import {StateCodec} from "../libraries/StateCodec.sol";
import {Tokens} from "../libraries/Tokens.sol";
import {Turns} from "../libraries/Turns.sol";
import {Test} from "./support/Test.sol";
import {Trees} from "./support/Trees.sol";
import {Wire} from "./support/Wire.sol";

interface VmJson {
    function readFile(string calldata path) external view returns (string memory);
    function parseJsonUint(string calldata json, string calldata key)
        external
        pure
        returns (uint256);
    function parseJsonUintArray(string calldata json, string calldata key)
        external
        pure
        returns (uint256[] memory);
    function parseJsonBool(string calldata json, string calldata key) external pure returns (bool);
    function parseJsonString(string calldata json, string calldata key)
        external
        pure
        returns (string memory);
    function parseJsonBytes(string calldata json, string calldata key)
        external
        pure
        returns (bytes memory);
    function parseJsonBytes32(string calldata json, string calldata key)
        external
        pure
        returns (bytes32);
    function parseJsonBytes32Array(string calldata json, string calldata key)
        external
        pure
        returns (bytes32[] memory);
    function keyExistsJson(string calldata json, string calldata key) external view returns (bool);
    function expectPartialRevert(bytes4 selector) external;
}

/// The game of the Rust crate, move by move, from tests/golden/game.json: the same states, hashed
/// to the same bytes. This contract stands in for the settlement, the registry and the verifier, as
/// the file's program says.
contract GameGoldenTest is Test, IClaims {
    VmJson private constant json = VmJson(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint64 private constant START = 1_800_000_000;
    address private constant defender = address(0xdef);
    address private constant challenger = address(0xca4);

    string private file;
    DisputeGame private game;
    // The dispute that is being played.
    Subject private subject;
    bytes32 private programRoot;
    uint32 private promptSteps;
    uint32 private outputSteps;
    mapping(bytes32 d0 => TensorShape) private shapes;
    mapping(bytes32 d0 => uint64) private units;
    mapping(bytes32 d0 => int256) private inits;
    bytes32 private sampleD0;
    bool private resolved;
    bool private challengerWon;

    function setUp() public {
        file = json.readFile("../tests/golden/game.json");
        vm.warp(START);
    }

    // ------------------------------------------------------------ settlement, registry, verifier

    function isPending(bytes32) external pure returns (bool) {
        return true;
    }

    function subjectOf(bytes32) external view returns (Subject memory) {
        return subject;
    }

    function modelOf(bytes32) external view returns (bytes32) {
        return subject.modelId;
    }

    function outputRootOf(bytes32) external view returns (bytes32) {
        return subject.outputRoot;
    }

    function disputeResolved(bytes32, bool challengerWon_) external {
        (resolved, challengerWon) = (true, challengerWon_);
    }

    function verifier() external view returns (address) {
        return address(this);
    }

    function stepsOf(bytes32) external view returns (uint32, uint32) {
        return (promptSteps, outputSteps);
    }

    function programRootOf(bytes32) external view returns (bytes32) {
        return programRoot;
    }

    function commitmentsOf(bytes32) external view returns (bytes32, bytes32, uint32, uint32) {
        return (programRoot, 0, 1, 1);
    }

    function shape(bytes32 d0, bytes32, uint32) external view returns (TensorShape memory) {
        return shapes[d0];
    }

    function fold(bytes32 d0, bytes32, uint32, uint32) external view returns (uint64, int256) {
        return (units[d0], inits[d0]);
    }

    function decode(bytes32 d0, bytes32, uint32, uint32 leaf, uint32 element, bytes calldata data)
        external
        view
        returns (int256)
    {
        uint256 place = 4 * uint256(element) - 1024 * uint256(leaf);
        uint32 bits;
        for (uint256 j = 0; j < 4; ++j) {
            bits |= uint32(uint8(data[place + j])) << uint32(8 * j);
        }
        return d0 == sampleD0 ? int256(uint256(bits)) : int256(int32(bits));
    }

    /// The file says who wins, the toy's arithmetic stays in Rust.
    function verify(Statement calldata s, bytes calldata witness) external view returns (bool) {
        assertEq(s.seed, subject.seed, "the request's seed");
        assertEq(s.temperature, subject.temperature, "the request's temperature");
        return keccak256(witness) == keccak256("the defender is right");
    }

    // ---------------------------------------------------------------- disputes

    function _load(string memory place) private {
        promptSteps = uint32(json.parseJsonUint(file, string.concat(place, ".promptSteps")));
        outputSteps = uint32(json.parseJsonUint(file, string.concat(place, ".outputSteps")));
        programRoot = json.parseJsonBytes32(file, string.concat(place, ".programRoot"));
        bytes32[] memory program = new bytes32[](outputSteps);
        for (uint256 i = 0; i < outputSteps; ++i) {
            string memory step = string.concat(place, ".program[", vm.toString(i), "]");
            bytes32 d0 = json.parseJsonBytes32(file, string.concat(step, ".d0"));
            program[i] =
                GameTree.leafOf(d0, json.parseJsonBytes32(file, string.concat(step, ".d1")));
            shapes[d0] = TensorShape({
                byteLength: uint32(json.parseJsonUint(file, string.concat(step, ".byteLength"))),
                leaves: uint32(json.parseJsonUint(file, string.concat(step, ".leaves"))),
                elements: uint32(json.parseJsonUint(file, string.concat(step, ".elements")))
            });
            units[d0] = uint64(json.parseJsonUint(file, string.concat(step, ".units")));
            inits[d0] = int256(uint256(json.parseJsonBytes32(file, string.concat(step, ".init"))));
            if (i + 1 == outputSteps) sampleD0 = d0;
        }
        assertEq(Trees.root(program), programRoot, "program root");
        subject = Subject({
            modelId: keccak256("model"),
            traceRoot: json.parseJsonBytes32(file, string.concat(place, ".traceRoot")),
            promptRoot: json.parseJsonBytes32(file, string.concat(place, ".promptRoot")),
            promptLength: uint32(
                json.parseJsonUintArray(file, string.concat(place, ".prompt")).length
            ),
            outputRoot: json.parseJsonBytes32(file, string.concat(place, ".outputRoot")),
            outputLength: uint32(
                json.parseJsonUintArray(file, string.concat(place, ".output")).length
            ),
            seed: 0xfedcba9876543210,
            temperature: 0x89abcdef
        });
    }

    function _open(string memory place, uint32 clockS, uint32 minResponseS)
        private
        returns (State memory s)
    {
        uint32 arityBits = uint32(json.parseJsonUint(file, string.concat(place, ".arityBits")));
        game = DisputeGame(
            deployed(
                "DisputeGame.sol:DisputeGame",
                abi.encode(address(this), address(this), arityBits, clockS, minResponseS)
            )
        );
        s = _state(string.concat(place, ".initial"));
        game.open(s.dispute, keccak256("claim"), challenger, defender, subject);
        _check(s, string.concat(place, ".initial"));
    }

    function _state(string memory place) private view returns (State memory) {
        return Wire.unpack(json.parseJsonBytes(file, string.concat(place, ".encoded")));
    }

    function _check(State memory s, string memory place) private view {
        bytes32 expected = json.parseJsonBytes32(file, string.concat(place, ".hash"));
        assertEq(keccak256(Wire.pack(s)), expected, string.concat(place, ": hash"));
        assertEq(
            game.disputeOf(s.dispute).stateHash, expected, string.concat(place, ": the game's")
        );
        assertEq(game.disputeOf(s.dispute).move, s.move, string.concat(place, ": move"));
        assertEq(game.disputeOf(s.dispute).phase, s.phase, string.concat(place, ": phase"));
    }

    function _bytes32s(string memory place, string memory name)
        private
        view
        returns (bytes32[] memory)
    {
        return json.parseJsonBytes32Array(file, string.concat(place, ".args.", name));
    }

    function _bytes32(string memory place, string memory name) private view returns (bytes32) {
        return json.parseJsonBytes32(file, string.concat(place, ".args.", name));
    }

    function _bytes(string memory place, string memory name) private view returns (bytes memory) {
        return json.parseJsonBytes(file, string.concat(place, ".args.", name));
    }

    function _uint(string memory place, string memory name) private view returns (uint32) {
        return uint32(json.parseJsonUint(file, string.concat(place, ".args.", name)));
    }

    function _accs(string memory place) private view returns (int256[] memory accs) {
        bytes32[] memory words = _bytes32s(place, "accs");
        accs = new int256[](words.length);
        for (uint256 i = 0; i < words.length; ++i) {
            accs[i] = int256(uint256(words[i]));
        }
    }

    /// The call of a move of the file, on this state.
    function _call(State memory s, string memory place) private view returns (bytes memory) {
        bytes32 name = keccak256(bytes(json.parseJsonString(file, string.concat(place, ".name"))));
        if (name == keccak256("reveal")) {
            return abi.encodeCall(game.reveal, (Wire.pack(s), _bytes32s(place, "children")));
        }
        if (name == keccak256("choose")) {
            return abi.encodeCall(
                game.choose,
                (
                    Wire.pack(s),
                    _uint(place, "child"),
                    _bytes32(place, "hash"),
                    _bytes32s(place, "path")
                )
            );
        }
        if (name == keccak256("chooseStep")) {
            return abi.encodeCall(
                game.chooseStep,
                (
                    Wire.pack(s),
                    _uint(place, "child"),
                    _bytes32(place, "hash"),
                    _bytes32s(place, "path"),
                    _bytes32(place, "d0"),
                    _bytes32(place, "d1"),
                    _bytes32s(place, "descriptorProof")
                )
            );
        }
        if (name == keccak256("expand")) {
            return abi.encodeCall(
                game.expand,
                (
                    Wire.pack(s),
                    _bytes32(place, "stepRoot"),
                    _bytes32s(place, "collectProof"),
                    _bytes32s(place, "sampleProof"),
                    _bytes(place, "tokens"),
                    _bytes32s(place, "tokenProof"),
                    _bytes32s(place, "children")
                )
            );
        }
        if (name == keccak256("revealLeaf")) {
            return abi.encodeCall(game.revealLeaf, (Wire.pack(s), _bytes(place, "data")));
        }
        if (name == keccak256("chooseElement")) {
            uint32 element = _uint(place, "element");
            return
                abi.encodeCall(game.chooseElement, (Wire.pack(s), _bytes(place, "data"), element));
        }
        if (name == keccak256("revealFold")) {
            return abi.encodeCall(game.revealFold, (Wire.pack(s), _accs(place)));
        }
        assertTrue(name == keccak256("chooseFold"), "a move that this test doesn't know");
        return abi.encodeCall(game.chooseFold, (Wire.pack(s), _accs(place), _uint(place, "choice")));
    }

    function _make(State memory s, string memory place) private returns (State memory next) {
        bool byDefender = keccak256(bytes(json.parseJsonString(file, string.concat(place, ".by"))))
            == keccak256("defender");
        bytes memory call = _call(s, place);
        vm.prank(byDefender ? defender : challenger);
        (bool ok, bytes memory reason) = address(game).call(call);
        if (!ok) {
            assembly {
                revert(add(reason, 32), mload(reason))
            }
        }
        next = _state(place);
        _check(next, place);
    }

    /// One test each: a test's gas is limited, and reading JSON is most of it.
    function _play(uint256 dispute) private {
        string memory place = string.concat(".disputes[", vm.toString(dispute), "]");
        _load(place);
        State memory s = _open(place, 1000, 60);
        for (uint256 i = 0;; ++i) {
            string memory move = string.concat(place, ".moves[", vm.toString(i), "]");
            if (!json.keyExistsJson(file, move)) break;
            s = _make(s, move);
        }
        assertEq(
            keccak256(Wire.pack(s)),
            json.parseJsonBytes32(file, string.concat(place, ".last.hash")),
            "the last"
        );
        game.step(Wire.pack(s), "");
        assertTrue(resolved && challengerWon, "the challenger wins");
    }

    function test_golden_dispute0_sameStates() public {
        _play(0);
    }

    function test_golden_dispute1_sameStates() public {
        _play(1);
    }

    function test_golden_dispute2_sameStates() public {
        _play(2);
    }

    function test_golden_dispute3_sameStates() public {
        _play(3);
    }

    function test_golden_dispute4_sameStates() public {
        _play(4);
        assertTrue(!json.keyExistsJson(file, ".disputes[5]"), "a dispute that no test plays");
    }

    function test_golden_clocks_sameSeconds() public {
        _load(".disputes[0]");
        uint256 i;
        for (;; ++i) {
            string memory place = string.concat(".clocks[", vm.toString(i), "]");
            if (!json.keyExistsJson(file, place)) break;
            vm.warp(START);
            uint32 clockS = uint32(json.parseJsonUint(file, string.concat(place, ".clock")));
            uint32 minResponseS =
                uint32(json.parseJsonUint(file, string.concat(place, ".minResponse")));
            State memory s = _open(".disputes[0]", clockS, minResponseS);
            vm.warp(START + json.parseJsonUint(file, string.concat(place, ".elapsed")));
            if (json.parseJsonBool(file, string.concat(place, ".inTime"))) {
                json.expectPartialRevert(Turns.StillInTime.selector);
                game.timeout(s.dispute);
                _make(s, ".disputes[0].moves[0]");
                uint256 remaining = json.parseJsonUint(file, string.concat(place, ".remaining"));
                assertEq(game.disputeOf(s.dispute).defenderRemaining, remaining, "remaining");
            } else {
                game.timeout(s.dispute);
                assertTrue(game.disputeOf(s.dispute).challengerWon, "late");
            }
        }
        assertTrue(i >= 9, "the file has clocks");
    }

    // ---------------------------------------------------------------- hashing

    function test_golden_padding_sameNodes() public view {
        bytes32[] memory zeros = json.parseJsonBytes32Array(file, ".zeros");
        assertEq(zeros.length, 33);
        for (uint256 h = 0; h < 33; ++h) {
            assertEq(GameTree.padding(h), zeros[h], "Z");
        }
    }

    function climb(bytes32 hash, uint256 index, bytes32[] calldata path)
        external
        pure
        returns (bytes32)
    {
        return GameTree.climb(hash, index, path);
    }

    function tokenRoot(bytes calldata packed) external pure returns (bytes32) {
        return Tokens.root(packed);
    }

    function test_golden_trees_sameRoots() public view {
        uint256 i;
        for (;; ++i) {
            string memory place = string.concat(".trees[", vm.toString(i), "]");
            if (!json.keyExistsJson(file, place)) break;
            uint256 leaves = json.parseJsonUint(file, string.concat(place, ".leaves"));
            assertEq(
                Merkle.depth(leaves),
                json.parseJsonUint(file, string.concat(place, ".depth")),
                "depth"
            );
            uint256[] memory real = json.parseJsonUintArray(file, string.concat(place, ".real"));
            for (uint256 h = 0; h < real.length; ++h) {
                assertEq(GameTree.realNodes(leaves, h), real[h], "real nodes");
            }
            bytes32 root = json.parseJsonBytes32(file, string.concat(place, ".root"));
            for (uint256 leaf = 0; leaf < leaves; ++leaf) {
                string memory path = string.concat(place, ".paths[", vm.toString(leaf), "]");
                bytes32 hash = Trees.leaf(abi.encodePacked(uint8(leaf), bytes3(0)));
                assertEq(
                    this.climb(hash, leaf, json.parseJsonBytes32Array(file, path)), root, "root"
                );
            }
        }
        assertTrue(i >= 10, "the file has trees");
    }

    function test_golden_tokenRoots_same() public view {
        uint256 i;
        for (;; ++i) {
            string memory place = string.concat(".tokenRoots[", vm.toString(i), "]");
            if (!json.keyExistsJson(file, place)) break;
            uint256 tokens = json.parseJsonUint(file, string.concat(place, ".tokens"));
            bytes memory packed = new bytes(4 * tokens);
            for (uint256 k = 0; k < packed.length; ++k) {
                packed[k] = bytes1(uint8((7 * (k / 4) + 1) >> (8 * (k % 4))));
            }
            assertEq(
                this.tokenRoot(packed),
                json.parseJsonBytes32(file, string.concat(place, ".root")),
                "root"
            );
        }
        assertTrue(i >= 5, "the file has token roots");
    }

    function test_golden_states_sameHashes() public view {
        for (uint256 i = 0; i < 2; ++i) {
            string memory place = string.concat(".states[", vm.toString(i), "]");
            bytes32 hash = json.parseJsonBytes32(file, string.concat(place, ".hash"));
            assertEq(keccak256(Wire.pack(_state(place))), hash, "hash");
            assertEq(StateCodec.hash(_state(place)), hash, "the codec's hash");
        }
    }
}
