//! GitHub's REST API, as far as the launcher needs it: some fifteen small calls. octocrab (137 crates) has them too, and would keep
//! the JIT configuration as a plain `String` with `Debug`; the HTTP client and the TLS stack are the ones of the agent.

mod app;
mod calls;
mod error;
mod http;
pub mod webhook;

pub use app::KeyError;
pub(crate) use app::read_secret;
pub use calls::{Delivery, Github, Group, JitConfiguration, Minted};
pub use error::GithubError;
