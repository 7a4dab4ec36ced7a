-- What the database is for. It is refused with any other chain, settlement or key.
CREATE TABLE binding (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  chain_id INTEGER NOT NULL,
  settlement BLOB NOT NULL,
  key_address BLOB NOT NULL,
  claim_s INTEGER NOT NULL
) STRICT;

-- Some blocks that were followed, to notice when the chain reorganizes. The newest one is the cursor.
CREATE TABLE blocks (
  number INTEGER PRIMARY KEY,
  hash BLOB NOT NULL
) STRICT;

-- What the contracts said. The tables from `models` to `moves` are a projection of this one: they can be rebuilt from it, and
-- are, for the requests that a reorganization touches.
CREATE TABLE events (
  block INTEGER NOT NULL,
  log_index INTEGER NOT NULL,
  block_hash BLOB NOT NULL,
  timestamp_s INTEGER NOT NULL,
  tx_hash BLOB NOT NULL,
  origin INTEGER NOT NULL,
  topics BLOB NOT NULL,
  data BLOB NOT NULL,
  request_id BLOB,
  dispute BLOB,
  PRIMARY KEY (block, log_index)
) STRICT;
CREATE INDEX events_by_request ON events (request_id, block, log_index);
CREATE INDEX events_by_dispute ON events (dispute, block, log_index);

CREATE TABLE models (
  model_id BLOB PRIMARY KEY,
  block INTEGER NOT NULL
) STRICT;

CREATE TABLE requests (
  request_id BLOB PRIMARY KEY,
  block INTEGER NOT NULL,
  model_id BLOB NOT NULL,
  requester BLOB NOT NULL,
  prompt BLOB NOT NULL,
  max_output INTEGER NOT NULL,
  fee_wei BLOB NOT NULL,
  deadline_s INTEGER NOT NULL,
  status INTEGER NOT NULL,
  provider BLOB,
  accepted_at_s INTEGER,
  claim_by_s INTEGER,
  claim_id BLOB
) STRICT;
CREATE INDEX requests_by_status ON requests (status, model_id);

CREATE TABLE claims (
  claim_id BLOB PRIMARY KEY,
  block INTEGER NOT NULL,
  request_id BLOB NOT NULL,
  provider BLOB NOT NULL,
  output BLOB NOT NULL,
  trace_root BLOB NOT NULL,
  claimed_at_s INTEGER NOT NULL,
  window_end_s INTEGER NOT NULL,
  status INTEGER NOT NULL,
  decided_at_s INTEGER,
  convicted_by BLOB,
  burned_wei BLOB,
  reward_dispute BLOB,
  reward_payee BLOB,
  reward_wei BLOB
) STRICT;
CREATE INDEX claims_by_status ON claims (status, window_end_s);
CREATE INDEX claims_by_request ON claims (request_id);

CREATE TABLE disputes (
  dispute BLOB PRIMARY KEY,
  block INTEGER NOT NULL,
  claim_id BLOB NOT NULL,
  challenger BLOB NOT NULL,
  opened_at_s INTEGER NOT NULL,
  state_hash BLOB,
  moves INTEGER NOT NULL DEFAULT 0,
  last_move_at_s INTEGER NOT NULL,
  resolved_at_s INTEGER,
  challenger_won INTEGER,
  by_step INTEGER
) STRICT;
CREATE INDEX disputes_by_claim ON disputes (claim_id);

CREATE TABLE moves (
  dispute BLOB NOT NULL,
  move INTEGER NOT NULL,
  state_hash BLOB NOT NULL,
  block INTEGER NOT NULL,
  log_index INTEGER NOT NULL,
  PRIMARY KEY (dispute, move)
) STRICT;

-- What this process sends. A row exists before anything is broadcast.
CREATE TABLE transactions (
  key TEXT PRIMARY KEY,
  nonce INTEGER NOT NULL,
  recipient BLOB NOT NULL,
  data BLOB NOT NULL,
  value_wei BLOB NOT NULL,
  gas_limit INTEGER NOT NULL,
  signed_at_s INTEGER NOT NULL,
  sent_at_s INTEGER,
  lost_since_s INTEGER,
  mined_hash BLOB,
  mined_block INTEGER,
  mined_block_hash BLOB,
  gas_used INTEGER,
  success INTEGER
) STRICT;
CREATE INDEX transactions_by_nonce ON transactions (nonce);

-- Every version of a transaction that was signed, because any of them may be mined.
CREATE TABLE attempts (
  hash BLOB PRIMARY KEY,
  key TEXT NOT NULL REFERENCES transactions (key) ON DELETE CASCADE ON UPDATE CASCADE,
  number INTEGER NOT NULL,
  raw BLOB NOT NULL,
  max_fee_wei BLOB NOT NULL,
  tip_wei BLOB NOT NULL
) STRICT;
CREATE INDEX attempts_by_key ON attempts (key, number);

-- What a provider computed, before it claims.
CREATE TABLE runs (
  request_id BLOB PRIMARY KEY,
  model_id BLOB NOT NULL,
  output BLOB NOT NULL,
  trace_root BLOB NOT NULL,
  fault TEXT,
  created_at_s INTEGER NOT NULL
) STRICT;

-- What a watcher found, before it acts.
CREATE TABLE verdicts (
  claim_id BLOB PRIMARY KEY,
  verdict TEXT NOT NULL CHECK (verdict IN ('honest', 'wrong', 'undecidable')),
  reason TEXT NOT NULL,
  created_at_s INTEGER NOT NULL
) STRICT;

-- Anything else that has to be known after a restart.
CREATE TABLE jobs (
  kind TEXT NOT NULL,
  id BLOB NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT;
