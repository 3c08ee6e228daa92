//! From a template's text to its nodes.

use super::Fault;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Variable {
        name: String,
        raw: bool,
        line: usize,
    },
    Section {
        name: String,
        inverted: bool,
        body: Vec<Node>,
        line: usize,
    },
    Partial {
        name: String,
        indent: String,
        line: usize,
    },
}

/// A section that has been opened and not yet closed.
struct Open {
    name: String,
    inverted: bool,
    line: usize,
    /// What came before it, in the section around it.
    before: Vec<Node>,
}

pub(super) fn parse(source: &str) -> Result<Vec<Node>, Fault> {
    let mut opener = "{{".to_owned();
    let mut closer = "}}".to_owned();
    let mut tree = Tree::default();
    let mut at = 0;
    while let Some(offset) = source[at..].find(&opener) {
        let start = at + offset;
        let line = source[..start].matches('\n').count() + 1;
        let fault = |what| Fault::new(line, what);
        let tag = Tag::read(source, start + opener.len(), &closer).map_err(fault)?;
        let alone = tag
            .kind
            .may_stand_alone()
            .then(|| lone_line(source, start, tag.end))
            .flatten();
        let (text_end, next) = alone.unwrap_or((start, tag.end));
        tree.text(&source[at..text_end]);
        at = next;
        let name = tag.content;
        if tag.kind.is_named() && (name.is_empty() || name.contains(char::is_whitespace)) {
            return Err(fault(format!("a tag needs one name, this is {name:?}")));
        }
        if tag.kind == Kind::Delimiters {
            (opener, closer) = delimiters(name).map_err(fault)?;
        } else {
            tree.tag(&tag, line, &source[text_end..start])?;
        }
    }
    tree.text(&source[at..]);
    tree.end()
}

/// What has been read so far.
#[derive(Default)]
struct Tree {
    /// Of the innermost open section.
    nodes: Vec<Node>,
    open: Vec<Open>,
}

impl Tree {
    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.nodes.push(Node::Text(text.to_owned()));
        }
    }

    /// A tag and what stands before it on its line.
    fn tag(&mut self, tag: &Tag<'_>, line: usize, indent: &str) -> Result<(), Fault> {
        let name = tag.content.to_owned();
        match tag.kind {
            Kind::Comment | Kind::Delimiters => {}
            Kind::Variable | Kind::Raw => self.nodes.push(Node::Variable {
                name,
                raw: tag.kind == Kind::Raw,
                line,
            }),
            Kind::Partial => self.nodes.push(Node::Partial {
                name,
                indent: indent.to_owned(),
                line,
            }),
            Kind::Section | Kind::Inverted => self.open.push(Open {
                name,
                inverted: tag.kind == Kind::Inverted,
                line,
                before: std::mem::take(&mut self.nodes),
            }),
            Kind::Close => return self.close(name, line),
        }
        Ok(())
    }

    fn close(&mut self, name: String, line: usize) -> Result<(), Fault> {
        let Some(section) = self.open.pop() else {
            let what = format!("section {name} is closed but was never opened");
            return Err(Fault::new(line, what));
        };
        if section.name != name {
            let what = format!(
                "section {name} is closed, but {} is open (line {})",
                section.name, section.line
            );
            return Err(Fault::new(line, what));
        }
        let body = std::mem::replace(&mut self.nodes, section.before);
        self.nodes.push(Node::Section {
            name,
            inverted: section.inverted,
            body,
            line: section.line,
        });
        Ok(())
    }

    fn end(mut self) -> Result<Vec<Node>, Fault> {
        match self.open.pop() {
            Some(section) => {
                let what = format!("section {} is never closed", section.name);
                Err(Fault::new(section.line, what))
            }
            None => Ok(self.nodes),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Comment,
    Variable,
    Raw,
    Partial,
    Delimiters,
    Section,
    Inverted,
    Close,
}

impl Kind {
    fn may_stand_alone(self) -> bool {
        !matches!(self, Kind::Variable | Kind::Raw)
    }

    fn is_named(self) -> bool {
        !matches!(self, Kind::Comment | Kind::Delimiters)
    }
}

struct Tag<'a> {
    kind: Kind,
    content: &'a str,
    /// The first byte after the tag.
    end: usize,
}

impl<'a> Tag<'a> {
    /// Reads the tag whose content begins at `inner`.
    fn read(source: &'a str, inner: usize, closer: &str) -> Result<Self, String> {
        let rest = &source[inner..];
        let (kind, sigil, close) = match rest.as_bytes().first() {
            Some(b'!') => (Kind::Comment, 1, closer.to_owned()),
            Some(b'&') => (Kind::Raw, 1, closer.to_owned()),
            Some(b'{') => (Kind::Raw, 1, format!("}}{closer}")),
            Some(b'>') => (Kind::Partial, 1, closer.to_owned()),
            Some(b'=') => (Kind::Delimiters, 1, format!("={closer}")),
            Some(b'#') => (Kind::Section, 1, closer.to_owned()),
            Some(b'^') => (Kind::Inverted, 1, closer.to_owned()),
            Some(b'/') => (Kind::Close, 1, closer.to_owned()),
            _ => (Kind::Variable, 0, closer.to_owned()),
        };
        let length = rest[sigil..]
            .find(&close)
            .ok_or_else(|| format!("the tag is not closed by {close}"))?;
        let content = rest[sigil..sigil + length].trim();
        Ok(Self {
            kind,
            content,
            end: inner + sigil + length + close.len(),
        })
    }
}

/// If nothing but blanks shares the tag's line: where that line begins and where the next does.
fn lone_line(source: &str, start: usize, end: usize) -> Option<(usize, usize)> {
    let blank = |text: &str| text.bytes().all(|byte| byte == b' ' || byte == b'\t');
    let line_start = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let (rest, next) = match source[end..].find('\n') {
        Some(newline) => (&source[end..end + newline], end + newline + 1),
        None => (&source[end..], source.len()),
    };
    let rest = rest.strip_suffix('\r').unwrap_or(rest);
    (blank(&source[line_start..start]) && blank(rest)).then_some((line_start, next))
}

fn delimiters(content: &str) -> Result<(String, String), String> {
    match content.split_whitespace().collect::<Vec<_>>()[..] {
        [opener, closer] if !content.contains('=') => Ok((opener.to_owned(), closer.to_owned())),
        _ => Err(format!(
            "new delimiters are two words without \"=\", this is {content:?}"
        )),
    }
}
