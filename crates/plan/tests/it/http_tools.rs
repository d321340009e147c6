//! HTTP tools of toolbox files: what they declare, and what is wrong with them.
//! It does not know how a request is sent.

use expect_test::{Expect, expect};
use fanout_plan::*;

const FULL: &str = r#"
[toolbox.pets]
base_url = "https://api.example.com/v1/"
headers = { X-Team = "blue", Accept-Language = "en" }
auth = { bearer = "env:PETS_TOKEN" }
hosts = ["cdn.example.com", "*.files.example:8443"]
private = ["10.0.0.0/8", "localhost"]
roots = ["internal.pem"]
redirects = 3
proxies = false
waits = { connect = "5s", first_byte = "1m", idle = "30s", total = "2m" }

[toolbox.pets.tools.get]
url = "/pets/${args.id}/photo.png?size=${args.size}&v=2"
args = { id = { type = "integer" }, size = { type = "string", optional = true } }
effects = { reads = ["pets:${args.id}"] }
response = "file"
full = true

[toolbox.pets.tools.add]
method = "put"
url = "/pets"
args = { pet = { type = "object" }, tags = { type = "array", default = [] } }
headers = { x-team = "red" }
query = { tags = { value = "${args.tags}", style = "pipe_delimited" }, dry = true }
cookies = { session = "${args.pet.owner}" }
json = { pet = "${args.pet}", by = "someone", tags = ["${args.tags}", 1] }
success = ["2xx", 409]
transient = "500-599"
auth = [{ api_key = "file:key.txt", header = "X-Key" }, { basic = { user = "env:U", password = "env:P" } }]
idempotency_header = "Idempotency-Key"
effects = { writes = ["pets:${args.pet.id}"] }
output_max = "1 MiB"

[toolbox.pets.tools.upload]
url = "https://upload.example.com/"
args = { path = { type = "string" } }
multipart = { note = "${args.path}", file = { file = "${args.path}", content_type = "image/png" } }
auth = { oauth2 = { token_url = "https://id.example.com/token", client_id = "env:ID", client_secret = "env:SECRET", scopes = ["a", "b"] } }

[toolbox.pets.tools.echo]
url = "/echo"
json = "${args}"
auth = "none"
"#;

#[test]
fn a_whole_toolbox() {
    let boxes = read_toolbox("/etc/x/fanout.toml", FULL.as_bytes()).expect("it is fine");
    let mut shown = String::new();
    for (tool, adapter) in boxes[0].spec.tools.iter().zip(&boxes[0].adapters) {
        let AdapterSpec::Http(http) = adapter else { panic!("it is a request") };
        assert_eq!(tool.kind, ToolKind::Http);
        let effects = tool.effects.as_ref().map(|effects| effects.idempotent);
        shown += &format!("{} {} {}, idempotent {effects:?}\n", tool.name, http.method, http.origin);
        let mut spec = (**http).clone();
        if &*tool.name != "pets.get" {
            assert_eq!(spec.reach, boxes[0].adapters.first().and_then(reach).expect("it has one"));
            spec.reach = Default::default();
        }
        shown += &format!("  {}\n", serde_json::to_string(&spec).unwrap());
    }
    expect![[r#"
        pets.get GET https://api.example.com, idempotent Some(false)
          {"method":"GET","origin":"https://api.example.com","path":[{"text":"/v1/pets/"},{"value":{"name":"id","value":"${args.id}","optional":false,"style":"simple","explode":false,"reserved":false}},{"text":"/photo.png"}],"query":[{"name":"size","value":"${args.size}","optional":true,"style":"form","explode":true,"reserved":false},{"name":"v","value":"2","optional":true,"style":"form","explode":true,"reserved":false}],"headers":[{"name":"X-Team","value":"blue","optional":true,"style":"simple","explode":false,"reserved":false},{"name":"Accept-Language","value":"en","optional":true,"style":"simple","explode":false,"reserved":false}],"cookies":[],"body":"none","body_optional":false,"response":"file","full":true,"success":[[200,299]],"transient":[[408,408],[425,425],[429,429],[500,500],[502,504]],"idempotency_header":null,"auth":[{"bearer":"env:PETS_TOKEN"}],"waits":{"connect":{"secs":5,"nanos":0},"first_byte":{"secs":60,"nanos":0},"idle":{"secs":30,"nanos":0},"total":{"secs":120,"nanos":0}},"output_max":67108864,"inline_max":1048576,"reach":{"hosts":["cdn.example.com","*.files.example:8443"],"private":["10.0.0.0/8","localhost"],"roots":["/etc/x/internal.pem"],"redirects_max":3,"proxies":false},"defaults":{},"base_dir":"/etc/x"}
        pets.add PUT https://api.example.com, idempotent Some(true)
          {"method":"PUT","origin":"https://api.example.com","path":[{"text":"/v1/pets"}],"query":[{"name":"tags","value":"${args.tags}","optional":true,"style":"pipeDelimited","explode":false,"reserved":false},{"name":"dry","value":"true","optional":true,"style":"form","explode":true,"reserved":false}],"headers":[{"name":"Accept-Language","value":"en","optional":true,"style":"simple","explode":false,"reserved":false},{"name":"x-team","value":"red","optional":true,"style":"simple","explode":false,"reserved":false}],"cookies":[{"name":"session","value":"${args.pet.owner}","optional":true,"style":"form","explode":true,"reserved":false}],"body":{"json":{"object":[["pet",{"text":"${args.pet}"}],["by",{"literal":"someone"}],["tags",{"list":[{"text":"${args.tags}"},{"literal":1}]}]]}},"body_optional":false,"response":"auto","full":false,"success":[[200,299],[409,409]],"transient":[[500,599]],"idempotency_header":"Idempotency-Key","auth":[{"api_key":{"place":"header","name":"X-Key","secret":"file:/etc/x/key.txt"}},{"basic":{"user":"env:U","password":"env:P"}}],"waits":{"connect":{"secs":5,"nanos":0},"first_byte":{"secs":60,"nanos":0},"idle":{"secs":30,"nanos":0},"total":{"secs":120,"nanos":0}},"output_max":1048576,"inline_max":1048576,"reach":{"hosts":[],"private":[],"roots":[],"redirects_max":10,"proxies":true},"defaults":{"tags":[]},"base_dir":"/etc/x"}
        pets.upload POST https://upload.example.com, idempotent None
          {"method":"POST","origin":"https://upload.example.com","path":[{"text":"/"}],"query":[],"headers":[{"name":"X-Team","value":"blue","optional":true,"style":"simple","explode":false,"reserved":false},{"name":"Accept-Language","value":"en","optional":true,"style":"simple","explode":false,"reserved":false}],"cookies":[],"body":{"multipart":[{"name":"note","value":"${args.path}","kind":"text","content_type":null,"file_name":null,"optional":true},{"name":"file","value":"${args.path}","kind":"file","content_type":"image/png","file_name":null,"optional":true}]},"body_optional":false,"response":"auto","full":false,"success":[[200,299]],"transient":[[408,408],[425,425],[429,429],[500,500],[502,504]],"idempotency_header":null,"auth":[{"o_auth2":{"token_url":"https://id.example.com/token","client_id":"env:ID","client_secret":"env:SECRET","scopes":["a","b"],"audience":null,"in_body":false}}],"waits":{"connect":{"secs":5,"nanos":0},"first_byte":{"secs":60,"nanos":0},"idle":{"secs":30,"nanos":0},"total":{"secs":120,"nanos":0}},"output_max":67108864,"inline_max":1048576,"reach":{"hosts":[],"private":[],"roots":[],"redirects_max":10,"proxies":true},"defaults":{},"base_dir":"/etc/x"}
        pets.echo POST https://api.example.com, idempotent None
          {"method":"POST","origin":"https://api.example.com","path":[{"text":"/v1/echo"}],"query":[],"headers":[{"name":"X-Team","value":"blue","optional":true,"style":"simple","explode":false,"reserved":false},{"name":"Accept-Language","value":"en","optional":true,"style":"simple","explode":false,"reserved":false}],"cookies":[],"body":{"json":"args"},"body_optional":false,"response":"auto","full":false,"success":[[200,299]],"transient":[[408,408],[425,425],[429,429],[500,500],[502,504]],"idempotency_header":null,"auth":[],"waits":{"connect":{"secs":5,"nanos":0},"first_byte":{"secs":60,"nanos":0},"idle":{"secs":30,"nanos":0},"total":{"secs":120,"nanos":0}},"output_max":67108864,"inline_max":1048576,"reach":{"hosts":[],"private":[],"roots":[],"redirects_max":10,"proxies":true},"defaults":{},"base_dir":"/etc/x"}
    "#]].assert_eq(&shown);
}

fn reach(adapter: &AdapterSpec) -> Option<std::sync::Arc<HttpReach>> {
    match adapter {
        AdapterSpec::Http(http) => Some(http.reach.clone()),
        AdapterSpec::Process(_) => None,
    }
}

#[test]
fn the_published_schema_takes_it() {
    let schema = jsonschema::options().offline().build(&toolbox_schema()).expect("it compiles");
    let file: serde_json::Value = toml::from_str(&FULL.replace("\"put\"", "\"PUT\"")).expect("it is TOML");
    let wrong: Vec<String> =
        schema.iter_errors(&file).map(|wrong| format!("{}: {wrong}", wrong.instance_path())).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn undeclared_tools_write_what_their_siblings_touch() {
    let boxes = read_toolbox("fanout.toml", FULL.as_bytes()).expect("it is fine");
    let catalog = Catalog::new(boxes.into_iter().map(|declared| declared.spec)).expect("it compiles");
    let tool = catalog.tool(catalog.find("pets.echo").expect("it is there"));
    let keys: Vec<_> = tool.effects.claims().iter().map(|claim| (&*claim.text, claim.write)).collect();
    expect![[r#"
        [
            (
                "pets",
                true,
            ),
            (
                "pets:",
                true,
            ),
        ]
    "#]]
    .assert_debug_eq(&keys);
}

const WRONG: &str = r#"
[tools.a]
url = "https://api.example.com/${args.idd}?x=${args.y}"
argv = ["true"]
args = { id = { type = "string" } }
[tools.b]
url = "/x"
[tools.c]
url = "https://${args.host}/x"
methd = "GET"
method = "FETCH"
[tools.d]
url = "https://a.example"
json = 1
form = {}
content_type = "text/plain"
success = [600, "6xx", "499-400", "x"]
response = "jsn"
headers = { Host = "x", "a b" = "y" }
query = { a = { style = "forms" } }
waits = { conect = "5s" }
[tools.e]
url = "https://a.example"
hosts = ["https://b.example", "b.example:84433", "::1", "[::1]:80", "*.b.example"]
private = ["b.example", "10.0.0.0/33"]
auth = { api_key = "env:K", bearer = "env:B" }
multipart = { a = { text = "x", file = "y" } }
[tools.f]
description = "nothing"
[toolbox.t]
base_url = "/v1"
"#;

#[test]
fn what_is_wrong_is_said_with_its_place() {
    check(
        WRONG,
        expect![[r#"
            fanout.toml:3:1: error[bad_value]: a tool has `argv` or `url`, not both
            fanout.toml:3:7: error[bad_template]: `${args.idd}` uses the argument `idd`, which the tool does not have
              help: did you mean `id`?
            fanout.toml:3:7: error[bad_template]: `${args.y}` uses the argument `y`, which the tool does not have
              help: declare it: args = { y = { type = "string" } }
            fanout.toml:7:7: error[bad_url]: a URL that begins with `/` stands behind the `base_url` of its toolbox, and there is none
              help: write the whole URL, or give the toolbox a `base_url`
            fanout.toml:9:7: error[bad_url]: the host of a URL is literal: a tool may go only where its declaration says
            fanout.toml:10:1: error[unknown_field]: the tool `c` has no field `methd`
              help: did you mean `method`?
            fanout.toml:11:10: error[bad_value]: `method` is one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, not `FETCH`
            fanout.toml:15:1: error[bad_value]: a request has one body: `json` or `form`
            fanout.toml:16:16: error[bad_value]: `content_type` goes with `text` or `base64`; the others have their own, or a header `Content-Type`
            fanout.toml:17:12: error[bad_value]: a status is written as 404, "404", "4xx" or "400-499", not 600
            fanout.toml:17:17: error[bad_value]: a status is written as 404, "404", "4xx" or "400-499", not "6xx"
            fanout.toml:17:24: error[bad_value]: a status is written as 404, "404", "4xx" or "400-499", not "499-400"
            fanout.toml:17:35: error[bad_value]: a status is written as 404, "404", "4xx" or "400-499", not "x"
            fanout.toml:18:12: error[bad_value]: `response` is one of `auto`, `json`, `text`, `file`, not `jsn`
              help: did you mean `json`?
            fanout.toml:19:13: error[bad_value]: the header `Host` belongs to the connection and cannot be set
            fanout.toml:19:25: error[bad_value]: "a b" cannot be the name of a header
            fanout.toml:20:15: error[missing_field]: a parameter has no `value`
            fanout.toml:20:25: error[bad_value]: `style` is one of `form`, `space_delimited`, `pipe_delimited`, `deep_object`, `json`, not `forms`
              help: did you mean `form`?
            fanout.toml:21:11: error[unknown_field]: `waits` has no field `conect`
              help: did you mean `connect`?
            fanout.toml:24:10: error[bad_value]: `https://b.example` is not a host
              help: such as `api.example.com`, `*.example.com` or `example.com:8443`, without scheme and path
            fanout.toml:24:31: error[bad_value]: `b.example:84433` is not a host
              help: such as `api.example.com`, `*.example.com` or `example.com:8443`, without scheme and path
            fanout.toml:24:50: error[bad_value]: `::1` is not a host
              help: such as `api.example.com`, `*.example.com` or `example.com:8443`, without scheme and path
            fanout.toml:25:12: error[bad_value]: `b.example` is neither an address nor a network
              help: such as `127.0.0.1`, `10.0.0.0/8`, `::1` or `localhost`
            fanout.toml:25:25: error[bad_value]: `10.0.0.0/33` is neither an address nor a network
              help: such as `127.0.0.1`, `10.0.0.0/8`, `::1` or `localhost`
            fanout.toml:26:8: error[bad_value]: `auth` is one of `bearer`, `basic`, `api_key` and `oauth2`
              help: several are a list: auth = [{ … }, { … }]
            fanout.toml:26:10: error[missing_field]: an `api_key` goes into one of: header = "NAME", query = "NAME", cookie = "NAME"
            fanout.toml:27:19: error[bad_value]: a part has one of `text`, `base64` and `file`
            fanout.toml:28:1: error[missing_field]: the tool `f` has neither `argv` nor `url`
              help: a program has `argv = ["wc", "-l"]`, a request `url = "https://…"`
            fanout.toml:31:12: error[bad_url]: a base URL begins with `https://` and a host
        "#]],
    );
}

#[test]
fn a_written_secret_is_not_repeated() {
    for auth in [
        r#"{ bearer = "sk-hunter2" }"#,
        r#""sk-hunter2""#,
        r#"{ api_key = "sk-hunter2", heder = "X" }"#,
        r#"{ basic = { user = "env:U", password = "sk-hunter2" } }"#,
        r#"{ basic = { user = "env:U", password = ["sk-hunter2"] } }"#,
        r#"[{ oauth2 = { token_url = "https://a.example", client_id = "env:A", client_secret = "sk-hunter2" } }]"#,
    ] {
        let file = format!("[tools.a]\nurl = \"https://a.example\"\nauth = {auth}\n");
        let problems = read_toolbox("fanout.toml", file.as_bytes()).expect_err("it is refused");
        assert!(problems.iter().any(|problem| problem.code == "secret_written"), "{problems:?}");
        for problem in problems {
            assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
            assert_eq!(problem.place, None, "its line would be shown");
        }
    }
}

fn check(file: &str, expected: Expect) {
    let problems = read_toolbox("fanout.toml", file.as_bytes()).expect_err("it is refused");
    let shown: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    expected.assert_eq(&shown);
}
