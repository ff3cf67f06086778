//! The script: what it says, line by line, and the texts with values in them.

/// One line of the script.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// `@server ARGUMENTS`: the server starts, in the folder that it had before.
    Server(Vec<&'a str>),
    /// `@server on a full disk`.
    FullDisk,
    /// `@stop`: it ends in order.
    Stop,
    /// `@hello LINE`: what everybody on the modern wire hears first.
    Hello(&'a str),
    /// `@person NAME ACCOUNT KEY DEVICE RUN`.
    Person([&'a str; 5]),
    /// `@message`, `@package`, `@grant`, `@act`, `@direct`: something is made. Its words, and the text behind the colon.
    Make(&'a str, Vec<&'a str>, &'a str),
    /// `@while CODE NAME: TEXT`: says it again and again, while that is the answer.
    While(&'a str, &'a str, &'a str),
    /// `NAME+`, on this wire.
    Connects(&'a str, Wire),
    /// `NAME.`: it ends its connection.
    Closes(&'a str),
    /// `NAME!`: the server has ended it.
    Ended(&'a str),
    /// `NAME> TEXT`.
    Says(&'a str, &'a str),
    /// `NAME< TEXT`.
    Hears(&'a str, &'a str),
    /// `NAME? TEXT`: one of the next records, in whatever order.
    HearsAmongOthers(&'a str, &'a str),
    /// `NAME= TEXT`: what it heard last, opened.
    Reads(&'a str, &'a str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Modern,
    Legacy,
}

/// Reads one line of the script, and how often it is played; `None` for what is for people alone.
pub(crate) fn parse(line: &str) -> Option<(usize, Step<'_>)> {
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    if let Some(directive) = line.strip_prefix('@') {
        return Some((1, parse_directive(directive)));
    }
    let (times, line) = match line.strip_prefix('*') {
        Some(rest) => {
            let (times, line) = rest.split_once(' ').unwrap();
            (times.parse().unwrap(), line)
        }
        None => (1, line),
    };
    let end = line.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or_else(|| panic!("{line:?} does nothing"));
    let (who, what) = line.split_at(end);
    let step = match what {
        "+" => Step::Connects(who, Wire::Modern),
        "+ legacy" => Step::Connects(who, Wire::Legacy),
        "." => Step::Closes(who),
        "!" => Step::Ended(who),
        what => match what.split_at_checked(2) {
            Some(("> ", text)) => Step::Says(who, text),
            Some(("< ", text)) => Step::Hears(who, text),
            Some(("? ", text)) => Step::HearsAmongOthers(who, text),
            Some(("= ", text)) => Step::Reads(who, text),
            _ => panic!("{line:?} cannot be read"),
        },
    };
    Some((times, step))
}

fn parse_directive(directive: &str) -> Step<'_> {
    if let Some(hello) = directive.strip_prefix("hello ") {
        return Step::Hello(hello);
    }
    let (words, text) = directive.split_once(": ").unwrap_or((directive, ""));
    let words: Vec<_> = words.split_whitespace().collect();
    match &words[..] {
        ["server", "on", "a", "full", "disk"] => Step::FullDisk,
        ["server", arguments @ ..] => Step::Server(arguments.to_vec()),
        ["stop"] => Step::Stop,
        ["while", code, who] => Step::While(code, who, text),
        ["person", rest @ ..] => Step::Person(rest.try_into().unwrap()),
        [what, rest @ ..] => Step::Make(what, rest.to_vec(), text),
        [] => panic!("a directive without a word"),
    }
}

/// A part of a text with values in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    /// `$name`, or `$name(words)`.
    Value(&'a str, Option<&'a str>),
    /// `$=name`: whatever stands here is called so from now on.
    Binding(&'a str),
}

/// Takes a text apart.
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let mut pieces = Vec::new();
    let mut parts = text.split('$');
    pieces.extend(parts.next().filter(|text| !text.is_empty()).map(Piece::Text));
    for part in parts {
        let (is_binding, part) = part.strip_prefix('=').map_or((false, part), |part| (true, part));
        let (name, rest) = part.split_at(part.find(|c| !is_name(c)).unwrap_or(part.len()));
        let (words, rest) = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            Some((words, rest)) if !is_binding => (Some(words), rest),
            _ => (None, rest),
        };
        pieces.push(if is_binding { Piece::Binding(name) } else { Piece::Value(name, words) });
        pieces.extend(Some(rest).filter(|rest| !rest.is_empty()).map(Piece::Text));
    }
    pieces
}
