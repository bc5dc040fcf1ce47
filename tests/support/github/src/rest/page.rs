//! Pages of a list.

use super::{Ctx, Reply};

const MOST: usize = 100;
const USUAL: usize = 30;

/// A part of a list, and the addresses of the others.
pub(super) struct Page {
    from: usize,
    to: usize,
    link: Option<String>,
}

impl Page {
    /// The page that a call asks for, of so many items. More than 100 items a page are cut to 100, as GitHub does it.
    pub(super) fn of(ctx: &Ctx<'_>, total: usize) -> Self {
        let number = |name| ctx.query(name).and_then(|text| text.parse::<usize>().ok());
        let per_page = number("per_page").filter(|size| *size > 0).unwrap_or(USUAL).min(MOST);
        let page = number("page").unwrap_or(1).max(1);
        let from = (page - 1).saturating_mul(per_page).min(total);
        let to = (from + per_page).min(total);
        let last = total.div_ceil(per_page).max(1);
        let others: String = ctx
            .query
            .iter()
            .filter(|(name, _)| name != "page")
            .map(|(name, value)| format!("{name}={}&", mayfly_fake_aws::http::encode(value)))
            .collect();
        let to_page = |page: usize, rel: &str| format!("<{}?{others}page={page}>; rel=\"{rel}\"", ctx.address);
        let mut links = Vec::new();
        if page > 1 {
            links.push(to_page(page - 1, "prev"));
        }
        if page < last {
            links.extend([to_page(page + 1, "next"), to_page(last, "last")]);
        }
        if page > 1 {
            links.push(to_page(1, "first"));
        }
        Self { from, to, link: (!links.is_empty()).then(|| links.join(", ")) }
    }

    pub(super) fn cut<'a, T>(&self, items: &'a [T]) -> &'a [T] {
        items.get(self.from..self.to).unwrap_or_default()
    }

    pub(super) fn onto(self, reply: Reply) -> Reply {
        match self.link {
            Some(link) => reply.with("link", link),
            None => reply,
        }
    }
}
