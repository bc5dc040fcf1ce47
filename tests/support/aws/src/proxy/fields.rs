//! The parameters of a form call, by name and in lists.

use std::collections::BTreeMap;

use super::call::form;

/// Parameters in whatever order they came; two calls ask the same if these are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    pub(crate) fn of(body: &[u8]) -> Self {
        Self(form(body).into_iter().collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }

    /// Takes one parameter out.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// The values of `NAME.1`, `NAME.2` and so on.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|number| self.get(&format!("{name}.{number}"))).collect()
    }

    /// The prefixes `NAME.1.`, `NAME.2.` and so on that parameters have.
    pub(crate) fn groups(&self, name: &str) -> Vec<String> {
        let has = |prefix: &String| {
            let mut from = self.0.range(prefix.clone()..);
            from.next().is_some_and(|(key, _)| key.starts_with(prefix.as_str()))
        };
        (1..).map(|number| format!("{name}.{number}.")).take_while(has).collect()
    }

    /// The pairs of `NAME.1.Key` and `NAME.1.Value` and so on.
    pub(crate) fn pairs(&self, name: &str) -> BTreeMap<String, String> {
        let groups = self.groups(name).into_iter();
        let value = |group: &str, part: &str| self.get(&format!("{group}{part}")).unwrap_or_default().to_owned();
        groups.map(|group| (value(&group, "Key"), value(&group, "Value"))).collect()
    }

    /// The tags for what is made of one kind, such as `instance`.
    pub(crate) fn tags_for(&self, kind: &str) -> BTreeMap<String, String> {
        let groups = self.groups("TagSpecification").into_iter();
        let of_kind = groups.filter(|group| self.get(&format!("{group}ResourceType")) == Some(kind));
        of_kind.flat_map(|group| self.pairs(&format!("{group}Tag"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_groups_and_tags_are_found_in_any_order() {
        let fields = Fields::of(b"B.2=y&B.1=x&TagSpecification.1.Tag.1.Value=v&TagSpecification.1.Tag.1.Key=k&TagSpecification.1.ResourceType=instance");
        assert_eq!(fields.list("B"), ["x", "y"]);
        assert_eq!(fields.groups("TagSpecification"), ["TagSpecification.1."]);
        assert_eq!(fields.tags_for("instance")["k"], "v");
        assert!(fields.tags_for("fleet").is_empty());
        assert_eq!(Fields::of(b"a=1&b=2"), Fields::of(b"b=2&a=1"));
    }
}
