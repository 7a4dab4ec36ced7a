// Holds the gas that the tests measured against the committed figures and against the targets: usage is
// `node snapshots.js COMMITTED MEASURED`, two folders of what forge's snapshotValue writes.
//
// A figure may move by a thousandth: what the compiler is given besides a file can change that file's code.
"use strict";

const fs = require("fs");
const path = require("path");

const PARTS_OF_TOLERANCE = 1000;

// What a provider can count on, and the parties of a dispute can count on, at the default arity.
const CLAIM_MAX = 150_000;
const CLAIM = "claim, 24 tokens";
const MOVE_MAX = 100_000;
const STEP_MEDIAN_MAX = 600_000;
const STEP_MAX = 1_000_000;
const GAME_STEP = "step, without the verifier";
const MOVES = /^(reveal|choose|expand)/;

const [committedAt, measuredAt] = process.argv.slice(2);
const failures = [];

function read(folder, file) {
  const at = path.join(folder, file);
  const json = fs.existsSync(at) ? JSON.parse(fs.readFileSync(at, "utf8")) : {};
  return new Map(Object.entries(json).map(([name, gas]) => [name, Number(gas)]));
}

function files(folder) {
  return fs.readdirSync(folder).filter((file) => file.endsWith(".json"));
}

function compare(file) {
  const committed = read(committedAt, file);
  const measured = read(measuredAt, file);
  for (const name of new Set([...committed.keys(), ...measured.keys()])) {
    const [was, is] = [committed.get(name), measured.get(name)];
    if (was === undefined) failures.push(`${file}: ${name}: ${is}, not committed`);
    else if (is === undefined) failures.push(`${file}: ${name}: committed, not measured`);
    else if (Math.abs(is - was) * PARTS_OF_TOLERANCE > was) failures.push(`${file}: ${name}: ${was} → ${is}`);
  }
}

function limit(what, gas, most) {
  console.log(`${what}: ${gas} of at most ${most}`);
  if (!(gas <= most)) failures.push(`${what}: ${gas}, more than ${most}`);
}

// A final step is the game's part and the verifier's; both figures hold a transaction's base cost, so this is too much
// rather than too little.
function targets() {
  const game = read(measuredAt, "game.json");
  const moves = [...game].filter(([name]) => MOVES.test(name)).map(([, gas]) => gas);
  const steps = [...read(measuredAt, "verifier.json").values()].map((gas) => gas + game.get(GAME_STEP));
  steps.sort((a, b) => a - b);
  limit("a claim of 24 tokens", game.get(CLAIM), CLAIM_MAX);
  limit("the dearest move of a dispute", Math.max(...moves), MOVE_MAX);
  limit("the final step, median over its kinds", steps[steps.length >> 1], STEP_MEDIAN_MAX);
  limit("the final step, at worst", steps[steps.length - 1], STEP_MAX);
}

for (const file of new Set([...files(committedAt), ...files(measuredAt)])) compare(file);
targets();
for (const failure of failures) console.error(failure);
if (failures.length > 0) {
  console.error("if that is meant, run scripts/contracts.sh --snapshots and commit contracts/snapshots");
  process.exit(1);
}
