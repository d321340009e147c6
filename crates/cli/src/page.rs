//! A page that a server wants a person to open: its address in full, the host marked, opened by nobody but the person.
//! It does not know who asks, nor what happens on the page.

use crate::form::{declined, is_no};
use crate::text::{self, Paint};
use serde_json::{Value, json};
use url::{Position, Url};

/// An address of more bytes than this is not shown, and so not asked about.
const URL_BYTES_MAX: usize = 8_192;
/// Lines of a message that are shown.
const LINES_MAX: usize = 40;

/// A page to be opened.
pub(crate) struct Page {
    message: String,
    url: Url,
}

impl Page {
    /// Reads the parameters of an `elicitation/create` in URL mode.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub(crate) fn read(params: &Value) -> Result<Page, String> {
        let given = params["url"].as_str().unwrap_or_default();
        let url = Url::parse(given).map_err(|error| format!("its address of a page cannot be read: {error}"))?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(format!("its address begins with `{}:`, which is no page", url.scheme()));
        }
        if url.as_str().len() > URL_BYTES_MAX {
            return Err(format!("its address of a page is longer than {URL_BYTES_MAX} bytes"));
        }
        Ok(Page { message: params["message"].as_str().unwrap_or_default().to_owned(), url })
    }

    /// What is to be opened, with what a person should know before.
    pub(crate) fn question(&self, columns: usize, paint: Paint) -> String {
        let url = &self.url;
        let host = &url[Position::BeforeHost..Position::AfterHost];
        // As it was parsed it has no character that is not ASCII, and no blank.
        let whole = format!(
            "{}{}{}",
            text::line(&url[..Position::BeforeHost]),
            paint.bold(&text::line(host)),
            text::line(&url[Position::AfterHost..])
        );
        let mut out = text::wrapped(&self.message, "  │ ", columns, LINES_MAX);
        out += &format!("  it wants you to open this page, on the host {}:\n", paint.bold(&text::line(host)));
        out += &format!("{whole}\n");
        let warnings = [
            (url.scheme() == "http", "what is typed there is not encrypted (http)"),
            (host.contains("xn--"), "the host has letters that are not ASCII: it can look like one you know"),
            (!url.username().is_empty() || url.password().is_some(), "what stands before `@` is not the host"),
        ];
        for (_, warning) in warnings.iter().filter(|(applies, _)| *applies) {
            out += &format!("  {}\n", paint.yellow(warning));
        }
        out
    }

    /// The line behind which it is answered.
    pub(crate) fn prompt(&self) -> String {
        "  Enter when you have opened it, `-` to decline: ".to_owned()
    }

    /// What a typed line answers, if it does.
    pub(crate) fn answer(&self, typed: &str) -> Option<Value> {
        match typed.trim() {
            "" => Some(json!({"action": "accept"})),
            "n" | "no" => Some(declined()),
            typed if is_no(typed) => Some(declined()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_page_is_shown_in_full_and_its_host_twice() {
        let evil = "http://bank.example@bаnk.example:8080/a b/\u{1b}[2J?q=\u{202e}#ü";
        let page = Page::read(&json!({"message": "Pay\nhere", "url": evil})).expect("a page");
        expect![[r#"
              │ Pay
              │ here
              it wants you to open this page, on the host xn--bnk-6cd.example:
            http://bank.example@xn--bnk-6cd.example:8080/a%20b/%1B[2J?q=%E2%80%AE#%C3%BC
              what is typed there is not encrypted (http)
              the host has letters that are not ASCII: it can look like one you know
              what stands before `@` is not the host
              Enter when you have opened it, `-` to decline: "#]]
        .assert_eq(&(page.question(80, Paint { on: false }) + &page.prompt()));
        let page = Page::read(&json!({"message": "", "url": "https://a.example/x"})).expect("a page");
        expect![[r#"
              it wants you to open this page, on the host a.example:
            https://a.example/x
        "#]]
        .assert_eq(&page.question(80, Paint { on: false }));
        assert!(page.question(80, Paint { on: true }).contains("https://\x1b[1ma.example\x1b[0m/x\n"));
    }

    #[test]
    fn enter_accepts_and_anything_else_does_not() {
        let page = Page::read(&json!({"url": "https://a.example"})).expect("a page");
        assert_eq!(page.answer(" "), Some(json!({"action": "accept"})));
        for no in ["-", "q", "n", "no"] {
            assert_eq!(page.answer(no), Some(declined()), "{no}");
        }
        assert_eq!(page.answer("what?"), None);
    }

    #[test]
    fn what_is_no_page_is_not_asked_about() {
        let why = |url: Value| Page::read(&json!({"url": url})).err().unwrap_or_default();
        assert_eq!(why(json!("javascript:alert(1)")), "its address begins with `javascript:`, which is no page");
        assert_eq!(why(json!("file:///etc/passwd")), "its address begins with `file:`, which is no page");
        assert!(why(json!("nowhere")).contains("cannot be read") && why(json!(null)).contains("cannot be read"));
        assert!(why(json!(format!("https://a.example/{}", "x".repeat(9_000)))).contains("longer"));
    }
}
