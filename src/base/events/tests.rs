use super::*;
use serde_json::{Value, json};

fn line(event: &Event) -> Value {
    let subject = Subject {
        image: Some("small".to_owned()),
        arch: Some("arm64".to_owned()),
    };
    serde_json::to_value(Line::now(&subject, event)).unwrap()
}

fn every_event() -> Vec<Event> {
    let step = || "stage0/00-a/00-run.sh".to_owned();
    let why = Why {
        changes: vec!["a differs".to_owned()],
        ..Why::new(WhyKind::Changed, "a differs")
    };
    vec![
        Event::RunBegun {
            version: VERSION,
            program_version: "1".to_owned(),
        },
        Event::BuildBegun {},
        Event::Planned {
            steps: 3,
            cached: 2,
            to_run: 1,
        },
        Event::Problem(Problem::new("a", "b").at(Path::new("/c")).line(4)),
        Event::Problem(Problem::new("a", "b")),
        Event::Error {
            text: "two\nlines".to_owned(),
        },
        Event::Note {
            text: "\u{fffd}\"".to_owned(),
        },
        Event::StepBegun {
            step: step(),
            part: Part::Step,
            why: Some(why.clone()),
        },
        Event::StepEnded {
            step: step(),
            part: Part::Tools,
            verdict: Verdict::Done,
            seconds: 1.5,
            took: Some(Took {
                processor_seconds: 1.0,
                emulated_seconds: 0.0,
                bytes_written: 7,
            }),
        },
        Event::StepCached {
            step: step(),
            part: Part::Image,
            why,
        },
        Event::Download {
            from: Origin::SharedCache,
            step: None,
            packages: 1,
            layers: 2,
            bytes: 3,
        },
        Event::artefact(Path::new("/nowhere"), Some("00".to_owned()), false),
        Event::BuildEnded {
            code: 1,
            seconds: 0.1,
        },
        Event::RunEnded {
            code: 1,
            seconds: 0.1,
        },
    ]
}

#[test]
fn the_schema_takes_every_event_and_no_other() {
    let options = jsonschema::options().should_validate_formats(true);
    let schema = options.build(&schema()).unwrap();
    for event in every_event() {
        let line = line(&event);
        let faults: Vec<_> = schema.iter_errors(&line).map(|it| it.to_string()).collect();
        assert!(faults.is_empty(), "{line}: {faults:?}");
    }
    let good = line(&Event::BuildEnded {
        code: 0,
        seconds: 0.1,
    });
    for (field, value) in [
        ("event", json!("build_over")),
        ("code", json!("0")),
        ("code", json!(null)),
        ("time", json!("yesterday")),
        ("image", json!(7)),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        assert!(!schema.is_valid(&bad), "{bad}");
    }
}

#[test]
fn a_line_says_when_it_is_of_which_image_and_what() {
    let event = Event::Problem(Problem::new("a", "b").at(Path::new("/c")).line(4));
    let mut line = line(&event);
    let time = line["time"].take();
    let time = time.as_str().unwrap();
    // 2026-11-27T11:03:07.123Z
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert_eq!(
        line,
        json!({
            "time": null, "image": "small", "arch": "arm64", "event": "problem",
            "path": "/c", "line": 4, "what": "a", "remedy": "b",
        })
    );
}
