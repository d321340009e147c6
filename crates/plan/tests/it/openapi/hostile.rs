//! Hostile documents: whatever is in them, they become tools that compile, or problems with a place; never a panic.
//! It does not know the rules of those that are fine.

use super::imported;
use expect_test::expect;
use fanout_plan::{Catalog, DeclaredToolbox};
use serde_json::json;
use std::fmt::Write as _;

/// What is said of a document whose tools all compile.
fn said(document: &str) -> String {
    let mut out = String::new();
    let problems = match imported(document) {
        Ok(DeclaredToolbox { spec, adapters, .. }) => {
            assert_eq!(spec.tools.len(), adapters.len());
            let _ = writeln!(out, "{} tools", spec.tools.len());
            let warnings = spec.warnings.clone();
            let catalog = Catalog::new([spec]).expect("what is imported compiles");
            for tool in catalog.tools() {
                let _ = tool.validate_args(&json!({"body": {"a": {"a": {}}}, "x": [1]}));
            }
            warnings
        }
        Err(problems) => problems,
    };
    for problem in problems.iter().take(6) {
        let _ = writeln!(out, "{problem}");
    }
    out
}

fn with_schemas(schemas: &str) -> String {
    let body = "requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/A0'}}}}";
    format!("openapi: 3.1.0\npaths: {{/a: {{post: {{{body}}}}}}}\ncomponents:\n  schemas:\n{schemas}")
}

#[test]
fn references_in_circles() {
    let mut all = said(&with_schemas(
        "    A0: {$ref: '#/components/schemas/A1'}\n    A1: {allOf: [{$ref: '#/components/schemas/A0'}]}\n",
    ));
    all += &said(&with_schemas("    A0: {$ref: '#/components/schemas/A0'}\n"));
    all += &said(
        "openapi: 3.0.0\npaths:\n  /a: {$ref: '#/paths/~1a'}\n  /b: {get: {parameters: [{$ref: '#/components/parameters/a'}]}}\n  /c: {get: {parameters: [{$ref: 'other.yaml#/x'}]}}\n  /d: {get: {parameters: [{$ref: '#/nothing'}]}}\ncomponents: {parameters: {a: {$ref: '#/components/parameters/b'}, b: {$ref: '#/components/parameters/a'}}}\n",
    );
    expect![[r#"
        1 tools
        api.yaml:6:9: warning[openapi_schema]: the schema `A1` refers to itself for the same value: anything is taken there
        1 tools
        api.yaml:5:9: warning[openapi_schema]: the schema `A0` refers to itself for the same value: anything is taken there
        0 tools
        api.yaml:3:7: warning[openapi_left_out]: `/a` is left out: `#/paths/~1a` leads in a circle, or through more than 32 others
        api.yaml:4:27: warning[openapi_left_out]: `GET /b` is left out: `#/components/parameters/a` leads in a circle, or through more than 32 others
        api.yaml:5:27: warning[openapi_left_out]: `GET /c` is left out: `other.yaml#/x` is outside of this document: only references inside of it are followed
        api.yaml:6:27: warning[openapi_left_out]: `GET /d` is left out: `#/nothing` names nothing in this document
    "#]].assert_eq(&all);
}

/// What no request can say is told where it stands, instead of becoming a tool that always fails.
#[test]
fn paths_and_servers_that_cannot_be_sent() {
    let mut all = said(
        "openapi: 3.1.0\nservers: [{url: 'https://a.example/?k=1'}]\npaths:\n  /../a: {get: {}}\n  /a/%2E%2e/{b}: {get: {}}\n  /a/.: {get: {}}\n  '/a/.b?c={d}': {get: {parameters: [{name: e, in: query, schema: {$dynamicRef: '#f'}}]}}\n",
    );
    for host in ["h:99999", "[::1", "h:1:2"] {
        all += &said(&format!("openapi: 3.1.0\nservers: [{{url: 'http://{host}/'}}]\npaths: {{/a: {{get: {{}}}}}}\n"));
    }
    expect![[r#"
        1 tools
        api.yaml:2:11: warning[openapi_ignored]: what stands behind `?` or `#` in the server `https://a.example/?k=1` is not sent
        api.yaml:4:16: warning[openapi_left_out]: `GET /../a` is left out: its path has the steps `.` or `..`, which no request can have
        api.yaml:5:24: warning[openapi_left_out]: `GET /a/%2E%2e/{b}` is left out: its path has the steps `.` or `..`, which no request can have
        api.yaml:6:15: warning[openapi_left_out]: `GET /a/.` is left out: its path has the steps `.` or `..`, which no request can have
        api.yaml:7:24: warning[openapi_ignored]: `c={d}` of the path `/a/.b?c={d}` is sent as it is: a query has parameters of its own
        api.yaml:7:81: warning[openapi_reference]: `$dynamicRef` is not followed: anything is taken there
        api.yaml:2:11: error[openapi_server]: `http://h:99999/` has no host that can be used
        api.yaml:2:11: error[openapi_server]: `http://[::1/` has no host that can be used
        api.yaml:2:11: error[openapi_server]: `http://h:1:2/` has no host that can be used
    "#]].assert_eq(&all);
}

#[test]
fn ways_that_multiply_are_cut() {
    let mut schemas = String::new();
    for at in 0..60 {
        let next = format!("{{$ref: '#/components/schemas/A{}'}}", at + 1);
        let _ = writeln!(schemas, "    A{at}: {{allOf: [{next}, {next}]}}");
    }
    schemas += "    A60: {type: object}\n";
    expect![[r#"
        1 tools
        api.yaml:9:9: warning[openapi_schema]: the schema `A4` looks at one value too many times: anything is taken there
        api.yaml:23:10: warning[openapi_schema]: the schema `A18` looks at one value too many times: anything is taken there
        api.yaml:37:10: warning[openapi_schema]: the schema `A32` looks at one value too many times: anything is taken there
        api.yaml:51:10: warning[openapi_schema]: the schema `A46` looks at one value too many times: anything is taken there
    "#]].assert_eq(&said(&with_schemas(&schemas)));
}

#[test]
fn long_chains_do_not_use_up_the_stack() {
    for (name, link) in [
        ("same", "{$ref: '#/components/schemas/ANEXT'}"),
        ("inner", "{type: object, properties: {a: {$ref: '#/components/schemas/ANEXT'}}}"),
    ] {
        let mut schemas = String::new();
        for at in 0..5_000 {
            let _ = writeln!(schemas, "    A{at}: {}", link.replace("NEXT", &(at + 1).to_string()));
        }
        schemas += "    A5000: {type: object}\n";
        let said = said(&with_schemas(&schemas));
        assert!(said.starts_with("1 tools"), "{name}: {said}");
    }
}

#[test]
fn wrong_types_everywhere() {
    expect![[r#"
        api.yaml:1:1: error[bad_yaml]: the document is empty
        api.yaml:1:1: error[openapi_version]: this is not an OpenAPI document: it has no `openapi`
          help: OpenAPI 3.0 and 3.1 are read; converters from Swagger 2.0 exist
        api.yaml:1:1: error[openapi_version]: this is not an OpenAPI document: it has no `openapi`
          help: OpenAPI 3.0 and 3.1 are read; converters from Swagger 2.0 exist
        api.yaml:1:1: error[openapi_version]: this is not an OpenAPI document: it has no `openapi`
          help: OpenAPI 3.0 and 3.1 are read; converters from Swagger 2.0 exist
        api.yaml:1:10: error[openapi_version]: OpenAPI 2 is not a version that is read
          help: OpenAPI 3.0 and 3.1 are read; converters from Swagger 2.0 exist
        api.yaml:1:10: error[openapi_version]: this is Swagger 2.0, not OpenAPI 3
          help: OpenAPI 3.0 and 3.1 are read; converters from Swagger 2.0 exist
        0 tools
        0 tools
        api.yaml:2:8: warning[openapi_ignored]: `paths` is an object, not a number: it is not used
        0 tools
        api.yaml:2:13: warning[openapi_left_out]: `/a` is left out: this is an object, not a number
        api.yaml:2:26: warning[openapi_left_out]: `GET /b` is left out: an operation is an object, not a number
        api.yaml:2:53: warning[openapi_ignored]: `parameters` is a list, not a number: it is not used
        api.yaml:2:69: warning[openapi_left_out]: `GET /c` is left out: this is an object, not a number
        api.yaml:2:108: warning[openapi_ignored]: `operationId` is a text, not a number: it is not used
        api.yaml:2:133: warning[openapi_ignored]: `servers` is a list, not a number: it is not used
        0 tools
        api.yaml:2:17: warning[openapi_ignored]: `url` is a text, not a number: it is not used
        api.yaml:5:33: warning[openapi_left_out]: `GET /a` is left out: this is an object, not a number
        1 tools
        api.yaml:2:62: warning[openapi_schema]: a schema is an object, not a number: anything is taken there
        api.yaml:2:75: warning[openapi_ignored]: `required` is true or false, not a number: it is not used
        api.yaml:2:85: warning[openapi_ignored]: `style` is a text, not a number: it is not used
        api.yaml:2:125: warning[openapi_schema]: `type` of a schema cannot be 1: not used
        api.yaml:2:140: warning[openapi_schema]: `properties` of a schema cannot be 1: not used
        api.yaml:2:150: warning[openapi_schema]: `allOf` of a schema cannot be 1: not used
    "#]].assert_eq(&[
        "", "a", "[]", "{}", "openapi: 2", "swagger: '2.0'", "openapi: 3.1.0", "openapi: 3.1.0\npaths: 1",
        "openapi: 3.1.0\npaths: {/a: 1, /b: {get: 1}, /c: {get: {parameters: 1, requestBody: 1, responses: 1, tags: 1, operationId: 1, security: 1, servers: 1, description: 1}}}",
        "openapi: 3.1.0\nservers: [{url: 1}]\nsecurity: [{a: 1}, 1]\ncomponents: 1\npaths: {/a: {get: {parameters: [1, {name: 1}, {name: a, in: b}]}}}",
        "openapi: 3.1.0\npaths: {/a: {get: {parameters: [{name: a, in: query, schema: 1, required: 1, style: 1}, {name: b, in: query, schema: {type: 1, properties: 1, allOf: 1, enum: 1, items: [], $ref: 1}}]}}}",
    ].map(said).concat());
}

#[test]
fn very_many_operations() {
    let mut paths = String::from("openapi: 3.1.0\npaths:\n");
    for at in 0..100_000 {
        let _ = writeln!(paths, " /{at}: {{get: {{operationId: a}}}}");
    }
    expect![[r#"
        error[openapi_too_large]: 100000 operations are chosen; at most 10000 become tools
          help: choose by `include` and `exclude`
    "#]]
    .assert_eq(&said(&paths));
}

#[test]
fn one_large_schema_in_many_operations() {
    let mut text = String::from("openapi: 3.1.0\npaths:\n");
    for at in 0..1_000 {
        let _ = writeln!(
            text,
            " /{at}: {{get: {{parameters: [{{name: a, in: query, schema: {{$ref: '#/components/schemas/A'}}}}]}}}}"
        );
    }
    text += "components:\n schemas:\n  A:\n   properties:\n";
    for at in 0..3_000 {
        let _ = writeln!(text, "    p{at}: {{type: string}}");
    }
    expect![[r#"
        api.yaml:335:14: error[openapi_too_large]: the schemas of the operations hold more than 2000000 values in all
          help: choose operations by `include` and `exclude`
    "#]]
    .assert_eq(&said(&text));
}

/// Small changes anywhere in a document lead to tools or problems, never to a panic or a hang.
#[test]
fn changed_documents() {
    const TEXT: &str = include_str!("changed.yaml");
    assert!(said(TEXT).starts_with("3 tools\n"), "it is fine as it is");
    let words =
        ["$ref", "{}", "[]", "1", "'#/components/schemas/A'", "'#'", "null", "true", "type", "-1", "\"", "allOf", "in"];
    let pieces: Vec<&str> = TEXT.split_inclusive(|c: char| !c.is_alphanumeric()).collect();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap_or(0)
    };
    for _ in 0..600 {
        let mut changed = pieces.clone();
        for _ in 0..=random(3) {
            let (at, other) = (random(changed.len()), random(pieces.len()));
            changed[at] = if random(2) == 0 { words[random(words.len())] } else { pieces[other] };
        }
        said(&changed.concat());
    }
}
