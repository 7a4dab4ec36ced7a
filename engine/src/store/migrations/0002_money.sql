-- The settlement's second form: what a request fixes for its claims, who is paid, what was delivered and reimbursed. No contract
-- of the first form can be followed by this program, so a database of one is refused by its binding, and no row needs a value.
-- All 64 bits of the seed, as SQLite's signed integer.
ALTER TABLE requests ADD COLUMN seed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN temperature INTEGER NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN bond_wei BLOB NOT NULL DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000';
ALTER TABLE requests ADD COLUMN window_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN callback BLOB;
ALTER TABLE requests ADD COLUMN callback_gas INTEGER NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN provider_payee BLOB;
ALTER TABLE requests ADD COLUMN delivered_at_s INTEGER;

ALTER TABLE claims ADD COLUMN provider_payee BLOB;
ALTER TABLE claims ADD COLUMN bond_wei BLOB;

ALTER TABLE disputes ADD COLUMN payee BLOB;
ALTER TABLE disputes ADD COLUMN moves_reimbursed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE disputes ADD COLUMN reimbursed_wei BLOB;
