//! The official Mustache specification's required modules (tests/spec, see its README).

use serde_json::Value;
use westwork::mustache::{Partials, Template};

fn module(source: &str) {
    let module: Value = serde_json::from_str(source).unwrap();
    let tests = module["tests"].as_array().unwrap();
    assert!(!tests.is_empty());
    for test in tests {
        let partials: Partials = test["partials"]
            .as_object()
            .map(|map| {
                map.iter()
                    .map(|(name, text)| (name.clone(), text.as_str().unwrap().to_owned()))
                    .collect()
            })
            .unwrap_or_default();
        let template = Template::parse(test["template"].as_str().unwrap()).unwrap();
        let escape = |text: &str| {
            Ok(text
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;"))
        };
        let made = template
            .render_lenient(&test["data"], &partials, escape)
            .unwrap();
        assert_eq!(
            made,
            test["expected"].as_str().unwrap(),
            "{}: {}",
            test["name"],
            test["desc"]
        );
    }
}

macro_rules! modules {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            module(include_str!(concat!("spec/", stringify!($name), ".json")));
        }
    )*};
}

modules! { comments delimiters interpolation inverted partials sections }

/// Rules that are younger than the copy in tests/spec.
#[test]
fn implicit_iterators_nested_contexts_and_null() {
    let render = |template: &str, data: Value| {
        let partials = Partials::from([("p".to_owned(), ">\n>".to_owned())]);
        Template::parse(template)
            .unwrap()
            .render_lenient(&data, &partials, |text| Ok(text.to_owned()))
            .unwrap()
    };
    use serde_json::json;
    assert_eq!(
        render(
            "{{#l}}({{#.}}{{.}}{{/.}}){{/l}}",
            json!({"l": [[1, 2], ["a"]]})
        ),
        "(12)(a)"
    );
    assert_eq!(render("{{#s}}{{.}}{{/s}}", json!({"s": "x"})), "x");
    assert_eq!(
        render("({{n}}){{#n}}x{{/n}}{{^n}}y{{/n}}", json!({"n": null})),
        "()y"
    );
    assert_eq!(
        render(
            "{{#a}}{{b.c}}{{/a}}",
            json!({"a": {"b": {}}, "b": {"c": "no"}})
        ),
        ""
    );
    assert_eq!(
        render(
            "{{#a}}{{#b}}{{x}}{{/b}}{{/a}}",
            json!({"a": {"b": [1]}, "x": "up"})
        ),
        "up"
    );
    assert_eq!(render("  {{>p}}\r\n>", json!({})), "  >\n  >>");
}

#[test]
fn strict_names_the_line_of_what_is_missing() {
    let strict = |template: &str| {
        let values = serde_json::json!({"domain": "example.org", "evil": "a;b"});
        Template::parse(template)
            .and_then(|t| {
                t.render_strict(
                    &values,
                    &Partials::new(),
                    westwork::format::escape_for("x.conf".as_ref()),
                )
            })
            .map_err(|fault| fault.to_string())
    };
    assert_eq!(strict("a {{domain}}\n"), Ok("a example.org\n".to_owned()));
    for (template, part) in [
        ("a\nb {{domian}}", "line 2: domian has no value"),
        ("{{#chat}}x{{/chat}}", "line 1: chat has no value"),
        ("\n\n{{> gone}}", "line 3: there is no partial gone"),
        ("{{{domain}}}", "line 1: domain must be written {{domain}}"),
        ("\n{{evil}}", "line 2: the value of evil has ';'"),
        (
            "{{#a}}\n{{/b}}",
            "line 2: section b is closed, but a is open (line 1)",
        ),
        ("\n{{domain", "line 2: the tag is not closed"),
        ("{{#a}}", "line 1: section a is never closed"),
    ] {
        let error = strict(template).unwrap_err();
        assert!(error.starts_with(part), "{error}");
    }
}
