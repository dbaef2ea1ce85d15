//! Many at the same moment: first uses, one name, one definition.

use std::sync::Barrier;
use std::thread;

use super::super::Store;
use super::{IDS, empty};
use crate::error::{Kind, Result};

/// Twenty threads do `work` at the same moment.
pub(super) fn at_once<T: Send>(work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(20);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|n| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(n)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn twenty_first_uses_at_once_all_succeed() {
    let (_folder, path) = empty();
    let outcomes = at_once(|n| {
        let mut store = Store::open_to_write(&path)?;
        store.insert(&format!("{n:08}"), &format!("vm{n}"), "{}")?;
        Store::open_to_read(&path).map(|reader| reader.is_some())
    });
    assert_eq!(outcomes, vec![Ok(true); 20]);
    assert_eq!(Store::open_to_read(&path).unwrap().unwrap().all().unwrap().len(), 20);
}

#[test]
fn readers_during_the_first_use_see_nothing_or_a_whole_database() {
    let (_folder, path) = empty();
    let outcomes = at_once(|n| match n {
        0 => Store::open_to_write(&path).map(|_| ()),
        _ => Store::open_to_read(&path)
            .and_then(|store| store.map_or(Ok(Vec::new()), |store| store.all()))
            .map(|rows| assert!(rows.is_empty())),
    });
    assert_eq!(outcomes, vec![Ok(()); 20]);
}

#[test]
fn of_twenty_inserts_of_one_name_one_succeeds() {
    let (_folder, path) = empty();
    let outcomes = at_once(|n| {
        Store::open_to_write(&path).and_then(|mut s| s.insert(&format!("{n:08}"), "web", "{}"))
    });
    let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 19);
    for error in refused {
        assert_eq!(error.kind, Kind::Conflict);
        assert_eq!(error.message, "a VM named \"web\" exists already");
    }
}

#[test]
fn an_update_upon_an_old_definition_is_refused() {
    let (_folder, path) = empty();
    Store::open_to_write(&path).unwrap().insert(IDS[0], "web", "{}").unwrap();
    let outcomes = at_once(|n| {
        let mut store = Store::open_to_write(&path)?;
        store.update_definition(IDS[0], "{}", &format!("{{\"memory\":{n}}}"))
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(refused.iter().all(|error| error.kind == Kind::Conflict && error.hint.is_some()));
}
