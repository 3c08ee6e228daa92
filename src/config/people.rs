//! Values about the device's people and place: names, keys, languages, zones, countries.

use super::lists::is_account;
use super::values::{Fault, fault};
use crate::base::names;

/// adduser's NAME_REGEX of Debian, and not root.
pub(super) fn user_name(text: &str) -> Result<(), Fault> {
    match (names::is_user(text, 32), text) {
        (_, "root") => Err(fault(
            "the first user cannot be root",
            "choose another name",
        )),
        (true, name) if is_account(name) => Err(fault(
            format!("the image has an account or a group {name} already"),
            "choose another name",
        )),
        (true, _) => Ok(()),
        _ => Err(fault(
            format!("{text} is not a user name"),
            "begin with a-z; then a-z, 0-9, - and _, 32 at most",
        )),
    }
}

/// Labels of RFC 1123 with dots between them.
pub(super) fn host_name(text: &str) -> Result<(), Fault> {
    if names::is_host(text) {
        return Ok(());
    }
    Err(fault(
        format!("{text} is not a host name"),
        "use letters, digits and dashes, such as westwork",
    ))
}

/// A text that is shown to people: one line without control characters.
pub(super) fn words(text: &str) -> Result<(), Fault> {
    match text.chars().find(|c| c.is_control()) {
        None => Ok(()),
        Some(c) => Err(fault(
            format!("{text:?} has {c:?} in it"),
            "write one line of plain text",
        )),
    }
}

/// An ISO 3166-1 alpha-2 code.
pub(super) fn country(text: &str) -> Result<(), Fault> {
    if COUNTRIES.split(' ').any(|code| code == text) {
        return Ok(());
    }
    let upper = text.to_ascii_uppercase();
    let remedy = match upper.as_str() {
        "UK" => "write GB".to_owned(),
        upper if COUNTRIES.split(' ').any(|code| code == upper) => format!("write {upper}"),
        _ => "write two letters such as GB, DE or US (ISO 3166)".to_owned(),
    };
    Err(fault(format!("{text} is not a country code"), remedy))
}

/// Source: ISO 3166-1, as in the tz database's iso3166.tab.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";
