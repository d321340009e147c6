//! What becomes of an operation, rule by rule: arguments, requests, effects, names.
//! It does not know how requests are sent.

use super::{imported, imported_as, source};
use expect_test::{Expect, expect};
use fanout_plan::openapi::{Given, OperationFilter, SchemeSecret, ToolOverride};
use fanout_plan::{
    AdapterSpec, Catalog, DeclaredToolbox, Diagnostic, EffectsSpec, HttpBody, HttpParam, HttpSpec, PathPiece, ToolSpec,
};
use serde_json::json;
use std::fmt::Write as _;

/// A document of these paths, with more behind them.
fn document(version: &str, paths: &str, more: &str) -> String {
    format!(
        "openapi: {version}\ninfo: {{title: t, version: '1'}}\nservers: [{{url: 'https://pets.example/v1'}}]\npaths:\n{paths}{more}"
    )
}

fn check(paths: &str, expected: Expect) {
    check_document(&document("3.1.0", paths, ""), expected);
}

fn check_document(document: &str, expected: Expect) {
    expected.assert_eq(&shown(imported(document)));
}

fn shown(made: Result<DeclaredToolbox, Vec<Diagnostic>>) -> String {
    let mut out = String::new();
    let problems = match made {
        Ok(made) => {
            for (tool, adapter) in made.spec.tools.iter().zip(&made.adapters) {
                let AdapterSpec::Http(http) = adapter else { panic!("it is an HTTP tool") };
                show(&mut out, tool, http);
            }
            let warnings = made.spec.warnings.clone();
            if let Err(problems) = Catalog::new([made.spec]) {
                let _ = writeln!(out, "does not compile: {}", problems[0]);
            }
            warnings
        }
        Err(problems) => problems,
    };
    for problem in problems {
        let _ = writeln!(out, "{problem}");
    }
    out
}

fn show(out: &mut String, tool: &ToolSpec, http: &HttpSpec) {
    let path: String = http
        .path
        .iter()
        .map(|piece| match piece {
            PathPiece::Text(text) => text.clone(),
            PathPiece::Value(value) => format!("<{}>", param(value)),
        })
        .collect();
    let _ = writeln!(out, "{}: {} {}{path}", tool.name, http.method, http.origin);
    for (what, params) in [("query", &http.query), ("header", &http.headers), ("cookie", &http.cookies)] {
        for value in params {
            let _ = writeln!(out, "  {what} {}", param(value));
        }
    }
    match &http.body {
        HttpBody::None => {}
        HttpBody::Form(fields) => {
            let fields: Vec<_> = fields.iter().map(param).collect();
            let _ = writeln!(out, "  form {}", fields.join("; "));
        }
        body => _ = writeln!(out, "  body {}", json!(body)),
    }
    let EffectsSpec { reads, writes, idempotent, destructive } = tool.effects.clone().unwrap_or_default();
    let _ = writeln!(out, "  reads {reads:?} writes {writes:?} idempotent {idempotent} destructive {destructive}");
    let _ = writeln!(out, "  args {}", tool.args_schema);
    if let Some(result) = &tool.result_schema {
        let _ = writeln!(out, "  result {result}");
    }
    if !http.auth.is_empty() {
        let _ = writeln!(out, "  auth {}", json!(http.auth));
    }
    let _ = writeln!(out, "  {:?}", tool.description);
}

fn param(param: &HttpParam) -> String {
    let HttpParam { name, value, optional, style, explode, .. } = param;
    let optional = if *optional { "?" } else { "" };
    let explode = if *explode { "*" } else { "" };
    format!("{name}{optional}={} {style:?}{explode}", value.source())
}

#[test]
fn an_operation_is_a_tool() {
    check(
        r#"
  /pets/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
    get: {operationId: show pet, summary: One pet., responses: {'200': {description: ok, content: {application/json: {schema: {type: object}}}}}}
    delete: {responses: {'204': {description: gone}}}
  /pets:
    post:
      operationId: addPet
      requestBody: {content: {application/json: {schema: {type: object, required: [name], properties: {name: {type: string}, id: {type: integer, readOnly: true}}}}}}
"#,
        expect![[r#"
            api.show_pet: GET https://pets.example/v1/pets/<id=${args.id} Simple>
              header Accept=application/json Form*
              reads ["api:/pets/${args.id}"] writes [] idempotent false destructive false
              args {"type":"object","properties":{"id":{"type":"integer"}},"required":["id"],"additionalProperties":false}
              result {"type":"object"}
              "One pet."
            api.delete_pets_id: DELETE https://pets.example/v1/pets/<id=${args.id} Simple>
              reads [] writes ["api:/pets/${args.id}"] idempotent true destructive true
              args {"type":"object","properties":{"id":{"type":"integer"}},"required":["id"],"additionalProperties":false}
              "DELETE /pets/{id}"
            api.addPet: POST https://pets.example/v1/pets
              body {"json":{"object":[["name",{"text":"${args.name}"}]]}}
              reads [] writes ["api:/pets"] idempotent false destructive false
              args {"type":"object","properties":{"name":{"type":"string"}},"required":["name"],"additionalProperties":false}
              "POST /pets"
        "#]],
    );
}

#[test]
fn styles_are_kept() {
    check(
        r#"
  /a/{p}/{l}/{m}:
    get:
      operationId: a
      parameters:
        - {name: p, in: path, schema: {type: array}}
        - {name: l, in: path, style: label, explode: true, schema: {type: array}}
        - {name: m, in: path, style: matrix, schema: {type: array}}
        - {name: 'filter[x]', in: query, style: deepObject, explode: true, schema: {type: object}}
        - {name: s, in: query, style: spaceDelimited, schema: {type: array}}
        - {name: 'At>', in: query, required: true, explode: false, schema: {type: array}}
        - {name: j, in: query, content: {application/json: {schema: {type: object}}}}
        - {name: X-A, in: header, schema: {type: string}}
        - {name: Authorization, in: header, schema: {type: string}}
        - {name: c, in: cookie, schema: {type: string}}
        - {name: w, in: header, style: form, schema: {type: string}}
"#,
        expect![[r#"
            api.a: GET https://pets.example/v1/a/<p=${args.p} Simple>/<l=${args.l} Label*>/<m=${args.m} Matrix>
              query filter[x]?=${args.filter_x} DeepObject*
              query s?=${args.s} SpaceDelimited
              query At>=${args.At_gt} Form
              query j?=${args.j} Json
              header X-A?=${args["X-A"]} Simple
              header w?=${args.w} Simple
              cookie c?=${args.c} Form*
              reads ["api:/a/${args.p}/${args.l}/${args.m}"] writes [] idempotent false destructive false
              args {"type":"object","properties":{"p":{"type":"array"},"l":{"type":"array"},"m":{"type":"array"},"filter_x":{"type":"object"},"s":{"type":"array"},"At_gt":{"type":"array"},"j":{"type":"object"},"X-A":{"type":"string"},"w":{"type":"string"},"c":{"type":"string"}},"required":["p","l","m","At_gt"],"additionalProperties":false}
              "GET /a/{p}/{l}/{m}\n\n`filter_x` is the query parameter `filter[x]`. `At_gt` is the query parameter `At>`."
            api.yaml:18:11: warning[openapi_ignored]: the header `Authorization` is no argument: it is made by other means
            api.yaml:20:11: warning[openapi_ignored]: `form` is no style of a header parameter
        "#]],
    );
}

#[test]
fn clashes_are_resolved_and_said() {
    check(
        r#"
  /a/{id}:
    put:
      operationId: a
      parameters:
        - {name: id, in: path, required: true, schema: {type: string}}
        - {name: id, in: query, schema: {type: string}}
      requestBody: {content: {application/json: {schema: {type: object, properties: {id: {type: integer}, n: {}}}}, application/xml: {}}}
"#,
        expect![[r#"
            api.a: PUT https://pets.example/v1/a/<id=${args.id} Simple>
              query id?=${args.query_id} Form*
              body {"json":{"object":[["id",{"text":"${args.body_id}"}],["n",{"text":"${args.n}"}]]}}
              reads [] writes ["api:/a/${args.id}"] idempotent true destructive false
              args {"type":"object","properties":{"id":{"type":"string"},"query_id":{"type":"string"},"body_id":{"type":"integer"},"n":{}},"required":["id"],"additionalProperties":false}
              "PUT /a/{id}\n\n`query_id` is the query parameter `id`. Sent as application/json; application/xml is understood too. `body_id` is the field of the body `id`."
        "#]],
    );
}

#[test]
fn bodies_that_are_no_plain_objects_are_one_argument() {
    check(
        r#"
  /list: {post: {operationId: list, requestBody: {required: true, content: {application/json: {schema: {type: array, items: {type: string}}}}}}}
  /free: {post: {operationId: free, requestBody: {content: {application/vnd.api+json: {schema: {type: object, additionalProperties: {type: string}}}}}}}
  /text: {post: {operationId: text, requestBody: {required: true, content: {text/csv: {schema: {type: string}}}}}}
  /bytes: {post: {operationId: bytes, requestBody: {required: true, content: {image/png: {schema: {type: string, format: binary}}}}}}
  /form: {post: {operationId: form, requestBody: {content: {application/x-www-form-urlencoded: {schema: {type: object, properties: {a: {type: array}, o: {type: object, properties: {}}, p: {type: array}}}, encoding: {p: {style: pipeDelimited}}}}}}}
  /file: {post: {operationId: file, requestBody: {content: {multipart/form-data: {schema: {type: object, required: [file], properties: {file: {type: string, format: binary}, meta: {type: object}}}, encoding: {meta: {contentType: application/json}}}}}}}
"#,
        expect![[r#"
            api.list: POST https://pets.example/v1/list
              body {"json":{"text":"${args.body}"}}
              reads [] writes ["api:/list"] idempotent false destructive false
              args {"type":"object","properties":{"body":{"type":"array","items":{"type":"string"}}},"required":["body"],"additionalProperties":false}
              "POST /list"
            api.free: POST https://pets.example/v1/free
              header Content-Type=application/vnd.api+json Form*
              body {"json":{"text":"${args.body}"}}
              reads [] writes ["api:/free"] idempotent false destructive false
              args {"type":"object","properties":{"body":{"type":"object","additionalProperties":{"type":"string"}}},"required":[],"additionalProperties":false}
              "POST /free"
            api.text: POST https://pets.example/v1/text
              body {"text":{"text":"${args.body}","content_type":"text/csv","base64":false}}
              reads [] writes ["api:/text"] idempotent false destructive false
              args {"type":"object","properties":{"body":{"type":"string"}},"required":["body"],"additionalProperties":false}
              "POST /text"
            api.bytes: POST https://pets.example/v1/bytes
              body {"text":{"text":"${args.body}","content_type":"image/png","base64":true}}
              reads [] writes ["api:/bytes"] idempotent false destructive false
              args {"type":"object","properties":{"body":{"type":"string","contentEncoding":"base64","description":"Base64 of what is sent."}},"required":["body"],"additionalProperties":false}
              "POST /bytes"
            api.form: POST https://pets.example/v1/form
              form a?=${args.a} Form*; o?=${args.o} Json; p?=${args.p} PipeDelimited
              reads [] writes ["api:/form"] idempotent false destructive false
              args {"type":"object","properties":{"a":{"type":"array"},"o":{"type":"object","properties":{}},"p":{"type":"array"}},"required":[],"additionalProperties":false}
              "POST /form"
            api.file: POST https://pets.example/v1/file
              body {"multipart":[{"name":"file","value":"${args.file}","kind":"base64","content_type":null,"file_name":"${args.file_filename}","optional":false},{"name":"meta","value":"${args.meta}","kind":"text","content_type":"application/json","file_name":null,"optional":true}]}
              reads [] writes ["api:/file"] idempotent false destructive false
              args {"type":"object","properties":{"file":{"type":"string","contentMediaType":"application/octet-stream","description":"Base64 of what is sent.","contentEncoding":"base64"},"file_filename":{"type":"string","description":"The file name of `file`, as the server sees it.","default":"file"},"meta":{"type":"object"}},"required":["file"],"additionalProperties":false}
              "POST /file"
        "#]],
    );
}

#[test]
fn references_and_recursion() {
    check_document(
        &document(
            "3.1.0",
            r#"
  /trees:
    $ref: '#/components/pathItems/trees'
"#,
            r##"
components:
  pathItems:
    trees:
      post:
        operationId: plant
        parameters: [{$ref: '#/components/parameters/dry'}]
        requestBody: {$ref: '#/components/requestBodies/tree'}
        responses: {'201': {$ref: '#/components/responses/tree'}}
  parameters: {dry: {name: dry, in: query, schema: {$ref: '#/components/schemas/Flag'}}}
  requestBodies: {tree: {required: true, content: {application/json: {schema: {$ref: '#/components/schemas/Node'}}}}}
  responses: {tree: {description: ok, content: {application/json: {schema: {$ref: '#/components/schemas/Node'}}}}}
  schemas:
    Flag: {type: boolean}
    Unused: {type: string}
    Node: {allOf: [{$ref: '#/components/schemas/Base'}, {type: object, properties: {children: {type: array, items: {$ref: '#/components/schemas/Node'}}}}]}
    Base: {type: object, required: [name], properties: {name: {type: string}, next: {$ref: '#/components/schemas/Node/allOf/1'}}}
"##,
        ),
        expect![[r##"
            api.plant: POST https://pets.example/v1/trees
              query dry?=${args.dry} Form*
              header Accept=application/json Form*
              body {"json":{"object":[["name",{"text":"${args.name}"}],["next",{"text":"${args.next}"}],["children",{"text":"${args.children}"}]]}}
              reads [] writes ["api:/trees"] idempotent false destructive false
              args {"type":"object","properties":{"dry":{"$ref":"#/$defs/Flag"},"name":{"type":"string"},"next":{"$ref":"#/$defs/1"},"children":{"type":"array","items":{"$ref":"#/$defs/Node"}}},"required":["name"],"additionalProperties":false,"$defs":{"Flag":{"type":"boolean"},"1":{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#/$defs/Node"}}}},"Node":{"allOf":[{"$ref":"#/$defs/Base"},{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#/$defs/Node"}}}}]},"Base":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"next":{"$ref":"#/$defs/1"}}}}}
              result {"$ref":"#/$defs/Node","$defs":{"Node":{"allOf":[{"$ref":"#/$defs/Base"},{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#/$defs/Node"}}}}]},"Base":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"next":{"$ref":"#/$defs/1"}}},"1":{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#/$defs/Node"}}}}}}
              "POST /trees"
        "##]],
    );
}

#[test]
fn the_words_of_3_0_are_upgraded() {
    check_document(
        &document(
            "3.0.3",
            r#"
  /a:
    get:
      operationId: a
      parameters:
        - {name: n, in: query, schema: {type: integer, minimum: 0, exclusiveMinimum: true, maximum: 9, exclusiveMaximum: false}}
        - {name: s, in: query, schema: {type: string, nullable: true, enum: [x, y], example: x}}
        - {name: r, in: query, schema: {$ref: '#/components/schemas/S', nullable: true, description: d, minLength: 9}}
        - {name: b, in: query, schema: {type: string, format: byte}}
        - {name: w, in: query, schema: {type: date, required: true, pattern: '(', items: [{type: string}], minLength: -1}}
"#,
            "components: {schemas: {S: {type: string}}}\n",
        ),
        expect![[r##"
            api.a: GET https://pets.example/v1/a
              query n?=${args.n} Form*
              query s?=${args.s} Form*
              query r?=${args.r} Form*
              query b?=${args.b} Form*
              query w?=${args.w} Form*
              reads ["api:/a"] writes [] idempotent false destructive false
              args {"type":"object","properties":{"n":{"type":"integer","maximum":9,"exclusiveMinimum":0},"s":{"type":["string","null"],"enum":["x","y",null],"examples":["x"]},"r":{"description":"d","anyOf":[{"$ref":"#/$defs/S"},{"type":"null"}]},"b":{"type":"string","format":"byte","contentEncoding":"base64"},"w":{"prefixItems":[{"type":"string"}]}},"required":[],"additionalProperties":false,"$defs":{"S":{"type":"string"}}}
              "GET /a"
            api.yaml:14:47: warning[openapi_schema]: `type` of a schema cannot be "date": not used
            api.yaml:14:63: warning[openapi_schema]: `required` of a schema cannot be true: not used
            api.yaml:14:78: warning[openapi_schema]: `pattern` of a schema cannot be "(": not used
            api.yaml:14:119: warning[openapi_schema]: `minLength` of a schema cannot be -1: not used
        "##]],
    );
}

#[test]
fn servers_with_variables_and_relative_ones() {
    let text = "openapi: 3.1.0\nservers: [{url: '{scheme}://a.example/{base}', variables: {scheme: {enum: [https, http], default: https}, base: {default: v1}}}]\npaths:\n  /a: {get: {operationId: a}}\n  /b: {servers: [{url: ../v2}], get: {operationId: b}, put: {operationId: c, servers: [{url: 'https://c.example'}]}}\n";
    let mut said = source();
    said.variables.push(Given::new("base", "v9".to_owned()));
    let mut all = shown(imported_as(text, &said));
    said.variables.push(Given::new("scheme", "ftp".to_owned()));
    said.variables.push(Given::new("bse", "x".to_owned()));
    all += &shown(imported_as(text, &said));
    said.variables.truncate(1);
    said.variables.push(Given::new("scheme", "ftp".to_owned()));
    all += &shown(imported_as(text, &said));
    said.variables.clear();
    said.server = Some("http://localhost:8080".to_owned());
    all += &shown(imported_as(text, &said));
    expect![[r#"
        api.a: GET https://a.example/v9/a
          reads ["api:/a"] writes [] idempotent false destructive false
          args {"type":"object","properties":{},"required":[],"additionalProperties":false}
          "GET /a"
        api.b: GET https://api.example/v2/b
          reads ["api:/b"] writes [] idempotent false destructive false
          args {"type":"object","properties":{},"required":[],"additionalProperties":false}
          "GET /b"
        api.c: PUT https://c.example/b
          reads [] writes ["api:/b"] idempotent true destructive false
          args {"type":"object","properties":{},"required":[],"additionalProperties":false}
          "PUT /b"
        error[openapi_unknown]: no server of the document has a variable `bse`
          help: did you mean `base`?
        error[openapi_server]: the variable `scheme` is one of `https`, `http`, not `ftp`
        api.a: GET http://localhost:8080/a
          reads ["api:/a"] writes [] idempotent false destructive false
          args {"type":"object","properties":{},"required":[],"additionalProperties":false}
          "GET /a"
        api.b: GET http://localhost:8080/b
          reads ["api:/b"] writes [] idempotent false destructive false
          args {"type":"object","properties":{},"required":[],"additionalProperties":false}
          "GET /b"
        api.c: PUT http://localhost:8080/b
          reads [] writes ["api:/b"] idempotent true destructive false
          args {"type":"object","properties":{},"required":[],"additionalProperties":false}
          "PUT /b"
    "#]]
    .assert_eq(&all);
}

const SECURE: &str = "openapi: 3.1.0
security: [{key: []}]
paths:
  /key: {get: {operationId: key}}
  /either: {get: {operationId: either, security: [{id: []}, {flow: [a:read]}, {}]}}
  /both: {get: {operationId: both, security: [{key: [], user: []}]}}
  /open: {get: {operationId: open, security: []}}
  /odd: {get: {operationId: odd, security: [{id: []}]}}
components:
  securitySchemes:
    key: {type: apiKey, in: header, name: X-Key}
    user: {type: http, scheme: basic}
    id: {type: openIdConnect, openIdConnectUrl: 'https://a.example'}
    flow: {type: oauth2, flows: {clientCredentials: {tokenUrl: 'https://a.example/token', scopes: {}}}}
";

#[test]
fn secrets_are_named_by_scheme() {
    // Who asks, and what is wrong; what else there is of an operation is the same for all.
    let who = |said: &_| -> String {
        let all = shown(imported_as(SECURE, said));
        let same = ["  reads ", "  args ", "  \"GET "];
        let lines = all.lines().filter(|line| !same.iter().any(|start| line.starts_with(start)));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let name = |text: &str| text.to_owned().try_into().expect("it names a secret");
    let mut said = source();
    let mut all = who(&said);
    said.auth = vec![
        Given::new("key", SchemeSecret::Token(name("env:KEY"))),
        Given::new("user", SchemeSecret::Basic { user: name("env:USER"), password: None }),
        Given::new("flow", SchemeSecret::Token(name("file:token"))),
    ];
    all += &who(&said);
    said.auth[0].value = said.auth[1].value.clone();
    said.auth[2].name = "flw".to_owned();
    said.auth.push(Given::new("id", SchemeSecret::Token(name("env:ID"))));
    all += &who(&said);
    expect![[r#"
        api.key: GET https://api.example/key
        api.either: GET https://api.example/either
        api.both: GET https://api.example/both
        api.open: GET https://api.example/open
        api.odd: GET https://api.example/odd
        api.yaml:11:10: warning[openapi_auth]: the security scheme `key` has no secret, so requests go without: auth = { key = "env:NAME" }
        api.yaml:13:9: warning[openapi_auth]: the security scheme `id` cannot be met, so requests go without: `openIdConnect` is not supported
        api.key: GET https://api.example/key
          auth [{"api_key":{"place":"header","name":"X-Key","secret":"env:KEY"}}]
        api.either: GET https://api.example/either
          auth [{"bearer":"file:token"}]
        api.both: GET https://api.example/both
          auth [{"api_key":{"place":"header","name":"X-Key","secret":"env:KEY"}},{"basic":{"user":"env:USER","password":null}}]
        api.open: GET https://api.example/open
        api.odd: GET https://api.example/odd
        api.yaml:13:9: warning[openapi_auth]: the security scheme `id` cannot be met, so requests go without: `openIdConnect` is not supported
        error[openapi_auth]: `key`: its secret is written as "env:NAME"
        error[openapi_auth]: the document has no security scheme `flw`
          help: did you mean `flow`?
        error[openapi_auth]: `id`: `openIdConnect` is not supported
    "#]].assert_eq(&all);
}

const MANY: &str = "openapi: 3.1.0
paths:
  /pets: {get: {tags: [pets], operationId: list}, post: {tags: [pets], operationId: list}}
  /pets/{id}: {get: {tags: [pets]}, patch: {tags: [pets, admin]}}
  /users/{id}.json: {delete: {tags: [users]}}
  '/users/{id}:ban': {post: {tags: [admin], parameters: [{name: Idempotency-Key, in: header, schema: {}}]}}
  '/old?beta=true': {get: {}, subscribe: {}, parameters: 7}
  nowhere: {get: {}}
webhooks: {a: {post: {}}}
";

#[test]
fn names_keys_and_choices() {
    let mut said = source();
    let mut all = shown(imported_as(MANY, &said));
    let these = |names: &[&str]| names.iter().map(|name| Given::new(*name, ())).collect::<Vec<_>>();
    said.include = OperationFilter { tags: these(&["pets"]), paths: these(&["/users/**"]), names: vec![] };
    said.exclude = OperationFilter { tags: vec![], paths: vec![], names: these(&["list_*"]) };
    let touches = EffectsSpec { reads: vec!["x:${args.id}".into()], ..EffectsSpec::default() };
    let patch =
        ToolOverride { description: Some("Changed.".into()), effects: Some(touches), ..ToolOverride::default() };
    said.overrides = vec![Given::new("patch_pets_id", patch.clone())];
    let made = imported_as(MANY, &said).expect("it is fine");
    for tool in &made.spec.tools {
        let _ = writeln!(all, "chosen {} {:?} {:?}", tool.name, tool.description, tool.effects);
    }
    said.overrides = vec![Given::new("patch_pet_id", patch.clone()), Given::new("list", patch)];
    said.include.tags = these(&["pet"]);
    said.exclude.paths = these(&["/nothing"]);
    all += &shown(imported_as(MANY, &said));
    expect![[r#"
        api.list: GET https://api.example/pets
          reads ["api:/pets"] writes [] idempotent false destructive false
          args {"type":"object","properties":{},"required":[],"additionalProperties":false}
          "GET /pets"
        api.list_2: POST https://api.example/pets
          reads [] writes ["api:/pets"] idempotent false destructive false
          args {"type":"object","properties":{},"required":[],"additionalProperties":false}
          "POST /pets"
        api.get_pets_id: GET https://api.example/pets/<id=${args.id} Simple>
          reads ["api:/pets/${args.id}"] writes [] idempotent false destructive false
          args {"type":"object","properties":{"id":{"type":"string"}},"required":["id"],"additionalProperties":false}
          "GET /pets/{id}"
        api.patch_pets_id: PATCH https://api.example/pets/<id=${args.id} Simple>
          reads [] writes ["api:/pets/${args.id}"] idempotent false destructive false
          args {"type":"object","properties":{"id":{"type":"string"}},"required":["id"],"additionalProperties":false}
          "PATCH /pets/{id}"
        api.delete_users_id_json: DELETE https://api.example/users/<id=${args.id} Simple>.json
          reads [] writes ["api:/users/${args.id}"] idempotent true destructive true
          args {"type":"object","properties":{"id":{"type":"string"}},"required":["id"],"additionalProperties":false}
          "DELETE /users/{id}.json"
        api.post_users_id_ban: POST https://api.example/users/<id=${args.id} Simple>:ban
          reads [] writes ["api:/users/${args.id}"] idempotent true destructive false
          args {"type":"object","properties":{"id":{"type":"string"}},"required":["id"],"additionalProperties":false}
          "POST /users/{id}:ban"
        api.get_old_beta_true: GET https://api.example/old
          query beta=true Form*
          reads ["api:/old"] writes [] idempotent false destructive false
          args {"type":"object","properties":{},"required":[],"additionalProperties":false}
          "GET /old?beta=true"
        api.yaml:3:57: warning[openapi_renamed]: the name `list` is taken: this tool is named `list_2`
        api.yaml:4:21: warning[openapi_ignored]: `GET /pets/{id}` declares no parameter `id`: it is a text
        api.yaml:4:44: warning[openapi_ignored]: `PATCH /pets/{id}` declares no parameter `id`: it is a text
        api.yaml:5:30: warning[openapi_ignored]: `DELETE /users/{id}.json` declares no parameter `id`: it is a text
        api.yaml:6:29: warning[openapi_ignored]: `POST /users/{id}:ban` declares no parameter `id`: it is a text
        api.yaml:7:42: warning[openapi_left_out]: `subscribe of /old?beta=true` is left out: it is no method that is known
        api.yaml:7:58: warning[openapi_ignored]: `parameters` is a list, not a number: it is not used
        api.yaml:8:12: warning[openapi_left_out]: `nowhere` is left out: a path begins with `/`
        api.yaml:9:11: warning[openapi_left_out]: webhooks are no tools (1 of them): it is the server that calls there
        chosen api.list "GET /pets" Some(EffectsSpec { reads: ["api:/pets"], writes: [], idempotent: false, destructive: false })
        chosen api.get_pets_id "GET /pets/{id}" Some(EffectsSpec { reads: ["api:/pets/${args.id}"], writes: [], idempotent: false, destructive: false })
        chosen api.patch_pets_id "Changed." Some(EffectsSpec { reads: ["x:${args.id}"], writes: [], idempotent: false, destructive: false })
        chosen api.delete_users_id_json "DELETE /users/{id}.json" Some(EffectsSpec { reads: [], writes: ["api:/users/${args.id}"], idempotent: true, destructive: true })
        chosen api.post_users_id_ban "POST /users/{id}:ban" Some(EffectsSpec { reads: [], writes: ["api:/users/${args.id}"], idempotent: true, destructive: false })
        error[openapi_unknown]: the document has no operation named `patch_pet_id`
          help: did you mean `patch_pets_id`?
        error[openapi_unknown]: no operation has the tag `pet`
          help: did you mean `pets`?
        error[openapi_unknown]: no operation has a path `/nothing`
    "#]].assert_eq(&all);
}

#[test]
fn a_toolbox_file_says_where_and_which() {
    let text = r#"
[toolbox.shop]
openapi = "shop.yaml"
server = "https://shop.example"
variables = { a = "b", n = 1 }
include = { tags = ["a"], paths = "/x/**" }
exclude = { names = ["n"] }
auth = { key = "env:KEY", user = { user = "env:U", password = "file:p" }, flow = { client_id = "env:I", client_secret = "env:S", scopes = ["x"] } }
hosts = ["cdn.example"]
headers = { X-A = "1" }
running = 4
[toolbox.shop.tools.get_x]
effects = "none"
timeout = "5s"
"#;
    let boxes = fanout_plan::read_toolbox("dir/fanout.toml", text.as_bytes()).expect("it is fine");
    let Some(fanout_plan::ToolSource::OpenApi(source)) = &boxes[0].source else { panic!("it has a document") };
    let mut all = format!("{:?} {:?} {:?}\n", source.document, source.server, boxes[0].spec.running_max);
    for given in &source.auth {
        let _ = writeln!(all, "{} {:?}", given.path, given.value);
    }
    for given in source.include.paths.iter().chain(&source.exclude.names) {
        let place = given.place.as_ref().expect("it stands in a text");
        let _ = writeln!(all, "{} {}:{}", given.path, place.line, place.column);
    }
    let _ = writeln!(all, "{:?}", source.overrides[0].value.settings.timeout);
    for wrong in [
        "openapi = 1",
        "openapi = 'a'\nbase_url = 'https://x'\nserve = 'x'",
        "openapi = 'a'\ninclude = {}\nexclude = { tag = ['x'] }",
        "openapi = 'a'\nauth = { a = 'secret', b = { users = 'env:U' } }\ntools = { x = { argv = ['a'] } }",
    ] {
        let text = format!("[toolbox.a]\n{wrong}");
        for problem in fanout_plan::read_toolbox("fanout.toml", text.as_bytes()).expect_err("it is wrong") {
            let _ = writeln!(all, "{problem}");
        }
    }
    expect![[r#"
        File("dir/shop.yaml") Some("https://shop.example") Some(4)
        toolbox.shop.auth.key Token(Env("KEY"))
        toolbox.shop.auth.user Basic { user: Env("U"), password: Some(File("dir/p")) }
        toolbox.shop.auth.flow Client { client_id: Env("I"), client_secret: Env("S"), scopes: Some(["x"]), audience: None, in_body: false }
        toolbox.shop.include.paths[0] 6:27
        toolbox.shop.exclude.names[0] 7:22
        Some(5s)
        fanout.toml:2:11: error[wrong_type]: `openapi` is a text, not a number
        fanout.toml:3:1: error[bad_value]: a toolbox with `openapi` has `server`, not `base_url`
          help: server = "https://…" replaces the servers of the document
        fanout.toml:4:1: error[unknown_field]: a toolbox with `openapi` has no field `serve`
          help: did you mean `server`?
        fanout.toml:3:11: error[bad_value]: `include` says nothing
          help: choose by `tags`, `paths` or `names`: { paths = ["/pets/**"] }
        fanout.toml:4:11: error[bad_value]: `exclude` says nothing
          help: choose by `tags`, `paths` or `names`: { paths = ["/pets/**"] }
        fanout.toml:4:13: error[unknown_field]: `exclude` has no field `tag`
          help: did you mean `tags`?
        toolbox.a.auth.a: error[secret_written]: a secret is named, not written (line 3 of fanout.toml)
          help: `env:NAME` for a variable of the environment, `file:PATH` for a file; and change a secret that was in a file
        toolbox.a.auth.b: error[missing_field]: `auth` has no `client_id`
          help: a token or key is "env:NAME", a user { user = …, password = … }, a client { client_id = …, client_secret = … }
        toolbox.a.auth.b: error[missing_field]: `auth` has no `client_secret`
          help: a token or key is "env:NAME", a user { user = …, password = … }, a client { client_id = …, client_secret = … }
        toolbox.a.auth.b.users: error[unknown_field]: `auth` has no field `users`
        fanout.toml:4:17: error[unknown_field]: a tool of a document has no field `argv`
    "#]].assert_eq(&all);
}
