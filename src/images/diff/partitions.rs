//! Differences of partition tables and file systems.

use super::Side;
use crate::base::size::size;
use serde::Serialize;

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// Number of the partition, or 0 for the whole disk.
    pub(crate) partition: u32,
    /// What differs, such as `size` or `label`; `content` has no values.
    pub(crate) what: &'static str,
    /// Values; absent where that side has none.
    pub(crate) a: Option<String>,
    pub(crate) b: Option<String>,
}

pub(super) fn compare(a: &Side, b: &Side) -> Vec<Change> {
    let (mut before, mut after) = (facts(a), facts(b));
    let mut changes = Vec::new();
    let mut keys: Vec<(u32, usize, &'static str)> =
        before.iter().chain(&after).map(|fact| fact.0).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let take = |facts: &mut Vec<Fact>| {
            let at = facts.iter().position(|fact| fact.0 == key)?;
            facts.swap_remove(at).1
        };
        let (a, b) = (take(&mut before), take(&mut after));
        if a != b {
            changes.push(Change {
                partition: key.0,
                what: key.2,
                a,
                b,
            });
        }
    }
    changes
}

/// Partition, place among its facts, name; and the value.
type Fact = ((u32, usize, &'static str), Option<String>);

fn facts(side: &Side) -> Vec<Fact> {
    let table = &side.image.table;
    let mut facts: Vec<Fact> = vec![
        ((0, 0, "table"), Some(table.kind.to_owned())),
        ((0, 1, "id"), table.id.clone()),
        ((0, 2, "size"), Some(size(side.image.size))),
    ];
    for (p, (fs, _)) in table.partitions.iter().zip(&side.systems) {
        let values = [
            ("start", Some(size(p.start))),
            ("size", Some(size(p.size))),
            ("type", Some(p.type_id.clone())),
            ("name", p.name.clone()),
            ("partuuid", Some(p.partuuid.clone())),
            ("file system", Some(fs.kind.to_owned())),
            ("label", fs.label.clone()),
            ("uuid", fs.uuid.clone()),
            ("file system size", fs.size.map(size)),
        ];
        for (place, (name, value)) in values.into_iter().enumerate() {
            facts.push(((p.number, place, name), value));
        }
    }
    facts
}
