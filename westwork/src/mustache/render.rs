//! From nodes and values to text.

use super::Fault;
use super::parse::{Node, parse};
use serde_json::Value;
use std::collections::BTreeMap;

/// Partials' sources by name.
pub type Partials = BTreeMap<String, String>;

/// What becomes of a value in `{{x}}`: its escaped form, or why it must not stand there.
pub type Escape = fn(&str) -> Result<String, String>;

/// Partials inside partials, at most; a partial may include itself.
const DEPTH: usize = 64;

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    nodes: Vec<Node>,
}

impl Template {
    /// Reads a template. The fault is the first one that it has.
    pub fn parse(source: &str) -> Result<Self, Fault> {
        Ok(Self {
            nodes: parse(source)?,
        })
    }

    /// For HTML and the specification's tests: a missing name is empty, `{{{x}}}` is raw.
    pub fn render_lenient(
        &self,
        values: &Value,
        partials: &Partials,
        escape: Escape,
    ) -> Result<String, Fault> {
        Renderer {
            partials,
            escape,
            strict: false,
        }
        .template(self, values)
    }

    /// For configuration: a missing name or partial is an error, and so is `{{{x}}}` or `{{&x}}`,
    /// which would go around the format's escaping.
    pub fn render_strict(
        &self,
        values: &Value,
        partials: &Partials,
        escape: Escape,
    ) -> Result<String, Fault> {
        Renderer {
            partials,
            escape,
            strict: true,
        }
        .template(self, values)
    }
}

struct Renderer<'a> {
    partials: &'a Partials,
    escape: Escape,
    strict: bool,
}

impl Renderer<'_> {
    fn template(&self, template: &Template, values: &Value) -> Result<String, Fault> {
        let mut out = String::new();
        self.nodes(&template.nodes, &mut vec![values], 0, &mut out)?;
        Ok(out)
    }

    fn nodes(
        &self,
        nodes: &[Node],
        stack: &mut Vec<&Value>,
        depth: usize,
        out: &mut String,
    ) -> Result<(), Fault> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Variable { name, raw, line } => {
                    out.push_str(&self.variable(name, *raw, *line, stack)?)
                }
                Node::Section {
                    name,
                    inverted,
                    body,
                    line,
                } => {
                    let value = self.find(name, *line, stack)?;
                    self.section(value, *inverted, body, stack, depth, out)?;
                }
                Node::Partial { name, indent, line } => {
                    self.partial(name, indent, *line, stack, depth, out)?
                }
            }
        }
        Ok(())
    }

    fn variable(
        &self,
        name: &str,
        raw: bool,
        line: usize,
        stack: &[&Value],
    ) -> Result<String, Fault> {
        let text = match self.find(name, line, stack)? {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
            Some(_) => {
                return Err(Fault::new(
                    line,
                    format!("{name} is a table or a list, not one value"),
                ));
            }
        };
        if raw && self.strict {
            return Err(Fault::new(
                line,
                format!(
                    "{name} must be written {{{{{name}}}}}: a configuration file has no raw values"
                ),
            ));
        }
        if raw {
            return Ok(text);
        }
        (self.escape)(&text).map_err(|what| Fault::new(line, format!("the value of {name} {what}")))
    }

    fn section<'v>(
        &self,
        value: Option<&'v Value>,
        inverted: bool,
        body: &[Node],
        stack: &mut Vec<&'v Value>,
        depth: usize,
        out: &mut String,
    ) -> Result<(), Fault> {
        let value = value.filter(|value| is_true(value));
        if inverted {
            return if value.is_none() {
                self.nodes(body, stack, depth, out)
            } else {
                Ok(())
            };
        }
        let items = match value {
            None => return Ok(()),
            Some(Value::Array(items)) => items.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        for item in items {
            stack.push(item);
            self.nodes(body, stack, depth, out)?;
            stack.pop();
        }
        Ok(())
    }

    fn partial(
        &self,
        name: &str,
        indent: &str,
        line: usize,
        stack: &mut Vec<&Value>,
        depth: usize,
        out: &mut String,
    ) -> Result<(), Fault> {
        let Some(source) = self.partials.get(name) else {
            let missing = Fault::new(line, format!("there is no partial {name}"));
            return if self.strict { Err(missing) } else { Ok(()) };
        };
        if depth == DEPTH {
            return Err(Fault::new(
                line,
                format!("partial {name} is nested more than {DEPTH} deep"),
            ));
        }
        let within = |mut fault: Fault| {
            fault.partial.get_or_insert_with(|| name.to_owned());
            fault
        };
        let nodes = parse(&indented(source, indent)).map_err(within)?;
        self.nodes(&nodes, stack, depth + 1, out).map_err(within)
    }

    fn find<'v>(
        &self,
        name: &str,
        line: usize,
        stack: &[&'v Value],
    ) -> Result<Option<&'v Value>, Fault> {
        let found = look_up(name, stack);
        if found.is_none() && self.strict {
            return Err(Fault::new(
                line,
                format!("{name} has no value in the settings"),
            ));
        }
        Ok(found)
    }
}

/// A dotted name's first part is looked for from the inside out, the rest only within it.
fn look_up<'v>(name: &str, stack: &[&'v Value]) -> Option<&'v Value> {
    if name == "." {
        return stack.last().copied();
    }
    let mut parts = name.split('.');
    let first = parts.next()?;
    let found = stack.iter().rev().find_map(|context| context.get(first))?;
    parts.try_fold(found, |value, part| value.get(part))
}

/// False are false, null, an empty list and an empty text.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

fn indented(source: &str, indent: &str) -> String {
    source
        .split_inclusive('\n')
        .flat_map(|line| [indent, line])
        .collect()
}
