//! The database: whose it is, and what it keeps.

use alloy::primitives::{Address, B256};
use refute_engine::store::{Binding, Run, Store, StoreError, Verdict, VerdictKind};

fn binding() -> Binding {
    Binding {
        chain_id: 31337,
        settlement: Address::repeat_byte(1),
        key: Address::repeat_byte(2),
        claim_s: 600,
    }
}

#[test]
fn a_database_belongs_to_one_chain_settlement_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/db");
    drop(Store::open(&path, &binding()).unwrap());
    drop(Store::open(&path, &binding()).unwrap());
    let others = [
        Binding { chain_id: 1, ..binding() },
        Binding { settlement: Address::repeat_byte(9), ..binding() },
        Binding { key: Address::repeat_byte(9), ..binding() },
        Binding { claim_s: 1, ..binding() },
    ];
    for other in others {
        let error = Store::open(&path, &other).unwrap_err();
        assert!(matches!(error, StoreError::OtherBinding { .. }), "{error}");
        assert!(error.to_string().contains(&other.key.to_string()), "{error}");
    }
    assert_eq!(Store::read(&path).unwrap().binding(), &binding());
}

#[test]
fn one_process_writes_and_others_may_look() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    assert!(Store::read(&path).is_err());
    let store = Store::open(&path, &binding()).unwrap();
    assert!(matches!(Store::open(&path, &binding()), Err(StoreError::InUse { .. })));
    let looking = Store::read(&path).unwrap();
    store.put_job("k", B256::ZERO, &1).unwrap();
    assert_eq!(looking.job("k", B256::ZERO).unwrap(), Some(1));
    assert!(looking.put_job("k", B256::ZERO, &2).is_err());
    drop(store);
    Store::open(&path, &binding()).unwrap();
}

#[test]
fn other_programs_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE mine (x)").unwrap();
    drop(other);
    assert!(matches!(Store::open(&path, &binding()), Err(StoreError::NotOurs { .. })));

    let path = folder.path().join("newer");
    drop(Store::open(&path, &binding()).unwrap());
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 1000).unwrap();
    drop(newer);
    assert!(matches!(Store::open(&path, &binding()), Err(StoreError::Version { .. })));

    let path = folder.path().join("text");
    std::fs::write(&path, "no database at all, only some words that are long enough").unwrap();
    assert!(Store::open(&path, &binding()).is_err());
}

#[test]
fn decisions_survive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let run = Run {
        request_id: B256::repeat_byte(1),
        model_id: B256::repeat_byte(2),
        output: vec![0, 1, u32::MAX],
        trace_root: B256::repeat_byte(3),
        fault: Some("1:2:3".to_owned()),
        created_at_s: 5,
    };
    let verdict = |kind, claim: u8| Verdict {
        claim_id: B256::repeat_byte(claim),
        kind,
        reason: "token 3".to_owned(),
        created_at_s: u64::from(claim),
    };
    let verdicts = [
        verdict(VerdictKind::Honest, 1),
        verdict(VerdictKind::Wrong, 2),
        verdict(VerdictKind::Undecidable, 3),
    ];
    let store = Store::open(&path, &binding()).unwrap();
    store.put_run(&Run { fault: None, ..run.clone() }).unwrap();
    store.put_run(&run).unwrap();
    for verdict in &verdicts {
        store.put_verdict(verdict).unwrap();
    }
    store.put_job("plan", B256::ZERO, &"first").unwrap();
    store.put_job("plan", B256::ZERO, &vec!["second"]).unwrap();
    store.put_job("plan", B256::repeat_byte(1), &vec!["third"]).unwrap();
    store.delete_job("plan", B256::repeat_byte(1)).unwrap();
    drop(store);
    let store = Store::open(&path, &binding()).unwrap();
    assert_eq!(store.run(run.request_id).unwrap(), Some(run));
    assert_eq!(store.run(B256::ZERO).unwrap(), None);
    assert_eq!(store.verdicts().unwrap(), verdicts);
    assert_eq!(store.verdict(verdicts[1].claim_id).unwrap().as_ref(), Some(&verdicts[1]));
    let plans: Vec<(B256, Vec<String>)> = store.jobs("plan").unwrap();
    assert_eq!(plans, [(B256::ZERO, vec!["second".to_owned()])]);
    assert!(matches!(store.job::<u32>("plan", B256::ZERO), Err(StoreError::Damaged(_))));
}
