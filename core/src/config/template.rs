//! Texts with placeholders that the instance fills in: `{instance_id}`, `{class}` and `{tag:KEY}`.

use thiserror::Error;

/// What SSM allows for the name of a parameter.
pub const LONGEST_NAME: usize = 1011;

/// How many parts such a name may have.
pub const MOST_LEVELS: usize = 15;

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(String),
    /// The instance's id.
    InstanceId,
    /// What `class` says.
    Class,
    /// The value of an instance tag.
    Tag(String),
}

/// Why a text with placeholders, or what was filled into it, cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// A placeholder does not end.
    #[error("{0:?} has a {{ without a }}")]
    NotClosed(String),
    /// No instance that shows its tags can have a tag of this name.
    #[error("the instance metadata has no tag {0:?}: only keys of letters, digits and +-=.,_:@ are in it")]
    NoTagKey(String),
    /// There is no placeholder of this name.
    #[error("there is no placeholder {{{0}}}: only {{instance_id}}, {{class}}, {{tag:KEY}}")]
    UnknownPlaceholder(String),
    /// `class` names itself.
    #[error("{{class}} cannot be part of itself")]
    ClassInClass,
    /// The text of a parameter's name has a character that no such name has.
    #[error("a parameter's name has no {0:?}: letters, digits and ._-/ are allowed")]
    NotOfAParameter(char),
    /// The text of a log group's name has a character that no such name has.
    #[error("a log group's name has no {0:?}: letters, digits and ._-/# are allowed")]
    NotOfAGroup(char),
    /// A log group without a name.
    #[error("a log group needs a name")]
    EmptyGroup,
    /// The name of a parameter is not a path.
    #[error("{0:?} does not begin with /")]
    NoSlash(String),
    /// A tag's value has a character that no part of a name has.
    #[error("it has {0:?}; letters, digits and ._- are allowed")]
    NotOfAValue(char),
    /// A tag's value would lead to another parameter.
    #[error("it has dots that could lead elsewhere")]
    Dots,
    /// The name is longer than [`LONGEST_NAME`].
    #[error("it is {0} characters long; SSM allows {LONGEST_NAME}")]
    TooLong(usize),
    /// The name has a character that SSM does not allow.
    #[error("it has {0:?}; letters, digits and ._-/ are allowed")]
    NotOfAName(char),
    /// The name has an empty part, or more than [`MOST_LEVELS`].
    #[error("it has an empty part, or more than {MOST_LEVELS}")]
    BadLevels,
}

/// The pieces of a text, in order.
///
/// # Errors
/// A placeholder that is not known, or not closed: it would stay in the text as it is.
pub fn parse(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(|| TemplateError::NotClosed(text.to_owned()))?;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(match (name, name.strip_prefix("tag:")) {
            ("instance_id", _) => Part::InstanceId,
            ("class", _) => Part::Class,
            (_, Some(key)) if is_tag_key(key) => Part::Tag(key.to_owned()),
            (_, Some(key)) => return Err(TemplateError::NoTagKey(key.to_owned())),
            _ => return Err(TemplateError::UnknownPlaceholder(name.to_owned())),
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

/// Checks `class`.
///
/// # Errors
/// What is wrong with it.
pub fn check_class(text: &str) -> Result<(), TemplateError> {
    if parse(text)?.contains(&Part::Class) { Err(TemplateError::ClassInClass) } else { Ok(()) }
}

/// Checks `jit.parameter`.
///
/// # Errors
/// What is wrong with it.
pub fn check_parameter(text: &str) -> Result<(), TemplateError> {
    for part in parse(text)? {
        if let Part::Text(text) = part
            && let Some(c) = text.chars().find(|c| *c != '/' && !is_of_a_name(*c))
        {
            return Err(TemplateError::NotOfAParameter(c));
        }
    }
    if text.starts_with('/') { Ok(()) } else { Err(TemplateError::NoSlash(text.to_owned())) }
}

/// Checks `logs.group`.
///
/// # Errors
/// What is wrong with it.
pub fn check_group(text: &str) -> Result<(), TemplateError> {
    for part in parse(text)? {
        if let Part::Text(text) = part
            && let Some(c) = text.chars().find(|c| *c != '/' && *c != '#' && !is_of_a_name(*c))
        {
            return Err(TemplateError::NotOfAGroup(c));
        }
    }
    if text.is_empty() { Err(TemplateError::EmptyGroup) } else { Ok(()) }
}

/// Whether a part of `jit.parameter` is this instance's alone, as far as a configuration can tell: what the whole class
/// shares, and tags that AWS sets, are not.
#[must_use]
pub fn is_of_one_instance(parameter: &str, class: &str) -> bool {
    let class = parse(class).unwrap_or_default();
    let alone = |part: &Part| match part {
        Part::Text(_) => false,
        Part::InstanceId => true,
        Part::Class => class.contains(&Part::InstanceId),
        Part::Tag(key) => !key.starts_with("aws:") && !class.contains(part),
    };
    parse(parameter).unwrap_or_default().iter().any(alone)
}

/// Checks what a tag gives to a parameter's name: one part of it. Nothing of the value is in the error, it may be what
/// others must not guess.
///
/// # Errors
/// What is wrong with it.
pub fn check_value(value: &str) -> Result<(), TemplateError> {
    if let Some(c) = value.chars().find(|c| !is_of_a_name(*c)) {
        return Err(TemplateError::NotOfAValue(c));
    }
    if value.contains("..") || value == "." { Err(TemplateError::Dots) } else { Ok(()) }
}

/// Checks a parameter's name with its placeholders filled in.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), TemplateError> {
    let levels = name.matches('/').count();
    if name.len() > LONGEST_NAME {
        return Err(TemplateError::TooLong(name.len()));
    }
    if let Some(c) = name.chars().find(|c| *c != '/' && !is_of_a_name(*c)) {
        return Err(TemplateError::NotOfAName(c));
    }
    if levels > MOST_LEVELS || name.contains("//") || name.ends_with('/') {
        return Err(TemplateError::BadLevels);
    }
    Ok(())
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

/// Which keys of tags the metadata service can show.
#[must_use]
pub fn is_tag_key(key: &str) -> bool {
    !matches!(key, "" | "." | ".." | "_index")
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "+-=.,_:@".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_class_shares_is_not_an_instances_own() {
        let class = "{tag:mayfly:class}";
        let own =
            ["/x/{instance_id}", "/{class}/{tag:mayfly:ticket}", "/mayfly/runners/{instance_id}/{tag:mayfly:ticket}"];
        for own in own {
            assert!(is_of_one_instance(own, class), "{own} is refused");
        }
        let shared = ["/x", "/{class}", "/{class}/{tag:mayfly:class}", "/{tag:aws:autoscaling:groupName}"];
        for shared in shared {
            assert!(!is_of_one_instance(shared, class), "every instance of a class would read {shared}");
        }
        assert!(is_of_one_instance("/{class}", "small-{instance_id}"));
    }

    /// A placeholder with a slip of the pen would be a fixed name.
    #[test]
    fn what_is_no_placeholder_is_told() {
        for wrong in ["/{instance-id}", "/{instanceid}", "/{tag:}", "/{tag:a b}", "/{tag:a/b}", "/{", "/{tag:x", "/{}"]
        {
            assert!(check_parameter(wrong).is_err(), "{wrong} was accepted");
        }
        for wrong in ["x/{instance_id}", "", "/a:1/{instance_id}", "/a b/{instance_id}", "/a}/{instance_id}"] {
            assert!(check_parameter(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn a_value_is_one_part_of_a_name_and_leads_nowhere_else() {
        for good in ["0123456789abcdef0123456789abcdef", "a.b_c-D", "x"] {
            assert_eq!(check_value(good), Ok(()), "{good}");
        }
        for bad in ["a/b", "..", ".", "a..b", "../i-1", "*", "a b", "ä", "a\nb", "a:1", "{instance_id}"] {
            assert!(check_value(bad).is_err(), "{bad:?} was accepted");
        }
        let secret = "s3cret/ticket";
        assert!(check_value(secret).is_err_and(|told| !told.to_string().contains("s3cret")), "a ticket is told");
    }
}
