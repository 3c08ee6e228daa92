//! Who is put out of the house is out, of chat as of all else, and nobody takes the place.

use crate::machine::Machine;
use crate::owner::Owner;

/// Somebody comes, gets another password, and goes.
pub(crate) fn come_and_go(machine: &mut Machine, owner: &Owner) {
    let guest = Owner {
        user: "carol",
        name: "Carol",
        password: "quite another one",
        ..*owner
    };
    let add = "echo 'quite another one' | westwork user add carol --name Carol";
    machine.sh(add);
    assert_eq!(guest.inbox(), 0);
    let session = guest.chat_session();
    assert!(guest.is_session(&session), "a session that is none");
    machine.sh("echo 'quite another one' | westwork user passwd carol");
    assert!(
        !guest.is_session(&session),
        "logged in with the old password"
    );
    let session = guest.chat_session();
    machine.sh("westwork user remove carol");
    assert!(
        !guest.is_session(&session),
        "removed, and still in the chat"
    );
    let again = machine.attempt(add);
    assert_ne!(again.code, 0, "{}", again.text);
    machine.sh(&format!("{add} --same-person"));
    assert!(guest.is_session(&guest.chat_session()));
    machine.sh("westwork user remove carol --purge");
}
