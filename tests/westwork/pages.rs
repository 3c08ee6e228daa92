//! The pages of the set-up, in the owner's browser.

use crate::browser::Browser;
use crate::machine::Machine;
use crate::network::ACCESS_POINT;
use crate::owner::Owner;
use crate::{in_normal_use, telephone};

/// The owner with the telephone: the code from the card, the form, the end.
pub(crate) fn set_up(machine: &mut Machine, owner: &Owner) {
    let code = machine.code();
    let browser = Browser::new(ACCESS_POINT, (390, 844));
    // What a telephone opens by itself.
    browser.open("http://connectivitycheck.gstatic.com/generate_204");
    assert!(
        browser
            .url()
            .starts_with(&format!("http://{ACCESS_POINT}/")),
        "{}",
        browser.url()
    );
    browser.picture("1-code");
    browser.fill("#code", "aaaa-aaaa");
    browser.press("button");
    assert!(
        browser.text().contains("That is not the code"),
        "{}",
        browser.text()
    );
    fill_in(&browser, &code, owner);
    to_the_end(&browser);
    if machine.attempt("test -e /run/heard").code == 0 {
        let plain = code.replace('-', "");
        let (plus, encoded) = (
            owner.password.replace(' ', "+"),
            owner.password.replace(' ', "%20"),
        );
        let name = owner.name.replace(' ', "+");
        let secrets = [
            &*code,
            &plain,
            owner.password,
            &plus,
            &encoded,
            owner.name,
            &name,
            owner.domain,
            "session=",
            "csrf",
        ];
        telephone::has_not_heard(machine, &secrets);
    }
    in_normal_use(machine);
    let left = machine.attempt("ls /boot/firmware/westwork-code.txt");
    assert_ne!(left.code, 0, "the code is still on the card");
}

/// From the code to the page that asks for the owner's yes.
pub(crate) fn fill_in(browser: &Browser, code: &str, owner: &Owner) {
    browser.fill("#code", code);
    browser.press("button");
    for (field, text) in [
        ("#domain", owner.domain),
        ("#name", owner.name),
        ("#user", owner.user),
        ("#password", owner.password),
        ("#password2", owner.password),
    ] {
        browser.fill(field, text);
    }
    browser.choose("#country", "DE");
    browser.picture("2-form");
    browser.press("main button");
    assert!(
        browser.text().contains("What the box will do"),
        "{}",
        browser.text()
    );
    browser.picture("3-review");
}

/// From the owner's yes to the last page.
pub(crate) fn to_the_end(browser: &Browser) {
    browser.press("main button");
    browser.picture("4-progress");
    browser.wait("the set-up", 600, |browser| {
        browser.url().ends_with("/done") || browser.has(".notice")
    });
    browser.picture("5-done");
    assert!(browser.url().ends_with("/done"), "{}", browser.text());
    browser.press("main button");
    browser.picture("6-goodbye");
}
