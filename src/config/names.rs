//! What the image and its files are called.

use super::reader::Reader;
use super::values;

/// `IMG_NAME`, which must be set.
pub(super) fn required_name(reader: &mut Reader<'_>) -> String {
    let given = reader.raw.settings.get("IMG_NAME");
    if given.is_none_or(|setting| setting.value.is_empty()) {
        let what = if given.is_some() {
            "has no value"
        } else {
            "is not set"
        };
        let remedy = "write IMG_NAME='MyImage' in the config";
        reader.blame((what.to_owned(), remedy.to_owned()));
        return UNNAMED.to_owned();
    }
    reader
        .text(values::file_name)
        .unwrap_or_else(|| UNNAMED.to_owned())
}

/// Stands in for a name that is missing or cannot be one.
const UNNAMED: &str = "unnamed";

/// `IMG_FILENAME`, by default of date and name.
pub(super) fn image_name(reader: &mut Reader<'_>) -> String {
    let given = reader.text(values::file_name);
    given.unwrap_or_else(|| dated_name(reader))
}

fn dated_name(reader: &Reader<'_>) -> String {
    let date = reader.quiet("IMG_DATE", |text| {
        values::date(text).map(|()| text.to_owned())
    });
    let name = reader.quiet("IMG_NAME", |text| {
        values::file_name(text).map(|()| text.to_owned())
    });
    format!(
        "{}-{}",
        date.unwrap_or_else(|| day(reader)),
        name.unwrap_or_else(|| UNNAMED.to_owned())
    )
}

/// `ARCHIVE_FILENAME`, by default the image's own.
pub(super) fn archive_name(reader: &mut Reader<'_>) -> String {
    let given = reader.text(values::file_name);
    given.unwrap_or_else(|| {
        let image = reader.quiet("IMG_FILENAME", |text| {
            values::file_name(text).map(|()| text.to_owned())
        });
        image.unwrap_or_else(|| dated_name(reader))
    })
}

/// The day of `SOURCE_DATE_EPOCH`, or today, in UTC.
pub(super) fn day(reader: &Reader<'_>) -> String {
    let epoch = reader.quiet("SOURCE_DATE_EPOCH", values::seconds);
    let of = |seconds| jiff::Timestamp::from_second(seconds).ok();
    let time = epoch.and_then(of).or_else(|| of(reader.raw.now));
    time.unwrap_or_default().strftime("%Y-%m-%d").to_string()
}
