"""Repeats on py-evm, an EVM with no code in common with ours, what the Rust tests wrote down.

    crosscheck.py VECTORS [--calls N]

VECTORS is a folder with calls of the verifier (`StepVerifier.jsonl`) and whole disputes, transaction by transaction
(`disputes.jsonl`); see tests/support/vectors.rs. Outcome, returned data, logs and gas must be those of revm: gas too, because
a move that runs out of gas is a move that was not made. `--calls` takes so many of the verifier's calls, spread over all.

py-evm has no rules later than Prague's. Ours are Osaka's, which differ in nothing that the contracts use.
"""

import argparse
import json
import pathlib
import sys
import time

from eth.constants import BLANK_ROOT_HASH, ZERO_ADDRESS, ZERO_HASH32
from eth.db.atomic import AtomicDB
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.state import PragueState
from eth.vm.spoof import SpoofTransaction

ARTIFACTS = pathlib.Path(__file__).resolve().parents[1] / "artifacts"
CALLER = bytes.fromhex("00000000000000000000000000000000000e0001")
CHAIN_ID = 31337
GAS_LIMIT = 30_000_000


def bytes_of(text):
    return bytes.fromhex(text.removeprefix("0x"))


class Chain:
    """A chain of one block that time moves through, without fees."""

    def __init__(self):
        self.state = PragueState(AtomicDB(), self.block(1), BLANK_ROOT_HASH)

    @staticmethod
    def block(timestamp):
        return ExecutionContext(
            coinbase=ZERO_ADDRESS, timestamp=timestamp, block_number=1, difficulty=0, mix_hash=ZERO_HASH32,
            gas_limit=GAS_LIMIT, prev_hashes=[], chain_id=CHAIN_ID, base_fee_per_gas=0, excess_blob_gas=0,
        )

    def transact(self, timestamp, sender, to, value, data):
        """What a transaction did: the computation, and the gas that it is charged."""
        state = self.state
        state.execution_context = self.block(timestamp)
        nonce = state.get_nonce(sender)
        unsigned = PragueVM.create_unsigned_transaction(
            nonce=nonce, gas_price=0, gas=GAS_LIMIT, to=to, value=value, data=data
        )
        transaction = SpoofTransaction(unsigned, from_=sender)
        executor = state.get_transaction_executor()
        message = executor.build_evm_message(transaction)
        computation = executor.build_computation(message, transaction)
        executor.finalize_computation(transaction, computation)
        state.lock_changes()
        used = GAS_LIMIT - computation.get_gas_remaining()
        refund = executor.calculate_gas_refund(computation, used)
        return computation, used - refund + computation.data_floor_gas


def compare(what, computation, gas, expected):
    """Complains about the first thing that differs."""
    logs = [(log[0], list(log[1]), log[2]) for log in computation.get_log_entries()]
    got = {"success": computation.is_success, "gas": gas, "output": computation.output, "logs": logs}
    for name, value in expected.items():
        if got[name] != value:
            sys.exit(f"{what}: {name}: revm says {value!r}, py-evm says {got[name]!r}")


def check_calls(lines, most):
    """The verifier's calls."""
    chain = Chain()
    artifact = json.loads((ARTIFACTS / "StepVerifier.json").read_text())
    computation, _ = chain.transact(1, CALLER, b"", 0, bytes_of(artifact["bytecode"]["object"]))
    if computation.is_error:
        sys.exit(f"the verifier doesn't deploy: {computation.error}")
    verifier = computation.msg.storage_address
    step = max(1, len(lines) // most) if most else 1
    chosen = lines[::step]
    gas_sum = 0
    for line in chosen:
        vector = json.loads(line)
        computation, gas = chain.transact(1, CALLER, verifier, 0, bytes_of(vector["data"]))
        expected = {"success": vector["returns"], "output": bytes_of(vector["output"]), "gas": int(vector["gas"])}
        compare(vector["name"], computation, gas, expected)
        gas_sum += gas
    return len(chosen), gas_sum


def check_disputes(lines):
    """Transactions, one after the other."""
    chain = Chain()
    gas_sum = count = 0
    for number, line in enumerate(lines, 1):
        act = json.loads(line)
        if act["kind"] == "balance":
            chain.state.set_balance(bytes_of(act["account"]), int(act["wei"], 16))
            chain.state.lock_changes()
            continue
        if act["kind"] == "code":
            chain.state.set_code(bytes_of(act["account"]), bytes_of(act["code"]))
            chain.state.lock_changes()
            continue
        to = bytes_of(act["to"]) if act["to"] else b""
        computation, gas = chain.transact(
            act["timestamp"], bytes_of(act["from"]), to, int(act["value"], 16), bytes_of(act["data"])
        )
        logs = [
            (bytes_of(log["address"]), [int(topic, 16) for topic in log["topics"]], bytes_of(log["data"]))
            for log in act["logs"]
        ]
        expected = {"success": act["success"], "gas": act["gas"], "logs": logs}
        if to:
            expected["output"] = bytes_of(act["output"])
        compare(f"transaction {number}", computation, gas, expected)
        gas_sum += gas
        count += 1
    return count, gas_sum


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vectors", type=pathlib.Path)
    parser.add_argument("--calls", type=int, help="so many of the verifier's calls; all unless told")
    options = parser.parse_args()
    start = time.monotonic()
    lines = (options.vectors / "disputes.jsonl").read_text().splitlines()
    count, gas = check_disputes(lines)
    print(f"{count} transactions, {gas / 1e6:.0f}M gas: the same on py-evm ({time.monotonic() - start:.0f} s)", flush=True)
    start = time.monotonic()
    lines = (options.vectors / "StepVerifier.jsonl").read_text().splitlines()
    count, gas = check_calls(lines, options.calls)
    print(f"{count} calls of the verifier, {gas / 1e6:.0f}M gas: the same on py-evm ({time.monotonic() - start:.0f} s)")


main()
