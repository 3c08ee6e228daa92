use super::*;
use crate::layers::sound::{is_sound, seal};

#[test]
fn a_layer_of_an_earlier_start_counts_only_if_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path(), SAME_IDS);
    let mut record = Record::new("a", None, Inputs::new());
    let layer = dir.path().join("layers").join(record.key.id());
    fs::create_dir_all(layer.join("upper")).unwrap();
    record.boot = work::boot_id();
    work::save(&layer.join("layer.json"), &record).unwrap();
    assert!(store.find(&record.key).is_some());
    record.boot = "another".to_owned();
    work::save(&layer.join("layer.json"), &record).unwrap();
    assert!(store.find(&record.key).is_none());
    fs::write(layer.join(DURABLE), "").unwrap();
    assert!(store.find(&record.key).is_some());
}

/// A committed layer with one file.
fn layer(store: &Store, name: &str) -> Record {
    let mut record = Record::new(name, None, Inputs::from([("a".into(), name.into())]));
    record.boot = work::boot_id();
    let dir = store.layer(&record.key);
    fs::create_dir_all(dir.join("upper/rootfs")).unwrap();
    fs::write(dir.join("upper/rootfs/file"), name).unwrap();
    work::save(&dir.join("layer.json"), &record).unwrap();
    record
}

#[test]
fn layers_of_other_ids_are_not_there_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let old = Store::at(dir.path(), SAME_IDS);
    let key = layer(&old, "a").key;
    assert!(old.find(&key).is_some());
    assert!(Store::at(dir.path(), "range 100000").find(&key).is_none());
    let mut store = Store::at(dir.path(), "range 100000");
    store.settle("range 100000").unwrap();
    assert!(!store.layer(&key).exists());
    layer(&store, "a");
    assert!(store.find(&key).is_some());
    assert!(Store::at(dir.path(), "range 100000").find(&key).is_some());
    assert!(Store::at(dir.path(), SAME_IDS).find(&key).is_none());
}

#[test]
fn a_layer_that_rots_is_not_sound() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path(), SAME_IDS);
    let layer = store.layer(&layer(&store, "a").key);
    seal(&layer).unwrap();
    assert!(is_sound(&layer).unwrap());
    fs::write(layer.join("upper/rootfs/file"), "b").unwrap();
    assert!(!is_sound(&layer).unwrap());
}

#[test]
fn what_is_received_is_the_layer_and_nothing_else() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let theirs = Store::at(from.path(), SAME_IDS);
    let record = layer(&theirs, "a");
    let dir = theirs.layer(&record.key);
    seal(&dir).unwrap();
    let ours = Store::at(to.path(), SAME_IDS);
    fs::create_dir_all(to.path().join("layers")).unwrap();
    let receive = |change: &dyn Fn(&Path)| {
        ours.receive(&record, |new| {
            fs::create_dir_all(new.join("upper/rootfs")).unwrap();
            fs::copy(dir.join("layer.json"), new.join("layer.json")).unwrap();
            let file = "upper/rootfs/file";
            fs::copy(dir.join(file), new.join(file)).unwrap();
            change(new);
            Ok(true)
        })
        .unwrap()
    };
    let link = |what: &str| {
        let what = what.to_owned();
        move |new: &Path| {
            fs::remove_dir_all(new.join(&what)).unwrap();
            std::os::unix::fs::symlink("/root", new.join(&what)).unwrap();
        }
    };
    assert!(!receive(&link("upper")));
    assert!(!receive(&link("upper/rootfs")));
    assert!(!receive(&|new| fs::write(
        new.join("upper/rootfs/file"),
        "b"
    )
    .unwrap()));
    assert!(!ours.layer(&record.key).exists());
    assert!(receive(&|_| {}));
}
