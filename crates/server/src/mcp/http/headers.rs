//! What a request of the newer revision says twice, in its headers and in its body: both must agree, since what stands
//! between reads only the one. It does not know who stands between.

use crate::mcp::Gateway;
use crate::mcp::wire::Request;
use axum::http::HeaderMap;
use base64::Engine as _;
use rmcp::transport::common::http_header::{
    BASE64_HEADER_PREFIX, BASE64_HEADER_SUFFIX, HEADER_MCP_METHOD, HEADER_MCP_NAME, HEADER_MCP_PARAM_PREFIX,
};
use serde_json::Value;

/// Refuses a request that names two revisions.
pub(super) fn one_version(header: Option<&str>, named: Option<&str>) -> Result<(), String> {
    match header == named {
        true => Ok(()),
        false => {
            let (header, body) = (header.unwrap_or("nothing"), named.unwrap_or("nothing"));
            Err(format!("`MCP-Protocol-Version` says {header}, and `_meta` of the body says {body}"))
        }
    }
}

/// Says where headers and body of a request that names the newer revision differ.
pub(super) fn agree(headers: &HeaderMap, request: &Request, gateway: &Gateway) -> Result<(), String> {
    same(headers, HEADER_MCP_METHOD, Some(&request.method))?;
    let params: Value =
        request.params.as_ref().and_then(|params| serde_json::from_str(params.get()).ok()).unwrap_or_default();
    let name = match &*request.method {
        "tools/call" | "prompts/get" => &params["name"],
        "resources/read" => &params["uri"],
        _ => return Ok(()),
    };
    same(headers, HEADER_MCP_NAME, name.as_str())?;
    if request.method == "tools/call" {
        let catalog = gateway.engine.catalog();
        let tool = name.as_str().and_then(|name| catalog.find(name)).map(|tool| catalog.tool(tool));
        if let Some(tool) = tool {
            return arguments(headers, &tool.spec.args_schema, &params["arguments"]);
        }
    }
    Ok(())
}

/// Arguments that their schema wants in headers too (`x-mcp-header`).
fn arguments(headers: &HeaderMap, schema: &Value, arguments: &Value) -> Result<(), String> {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let argument = &arguments[name];
        if let Some(header) = property["x-mcp-header"].as_str().filter(|header| !header.is_empty()) {
            let text = match argument {
                Value::String(text) => Some(text.clone()),
                Value::Bool(_) | Value::Number(_) => Some(argument.to_string()),
                _ => None,
            };
            same(headers, &format!("{HEADER_MCP_PARAM_PREFIX}{header}"), text.as_deref())?;
        }
        if property["properties"].is_object() {
            self::arguments(headers, property, argument)?;
        }
    }
    Ok(())
}

/// One header against what the body has.
fn same(headers: &HeaderMap, name: &str, body: Option<&str>) -> Result<(), String> {
    let mut values = headers.get_all(name).iter();
    let header = values.next().map(|value| value.to_str().ok().and_then(decoded));
    if values.next().is_some() {
        return Err(format!("`{name}` is given twice"));
    }
    match (header, body) {
        (None, None) => Ok(()),
        (Some(Some(header)), Some(body)) if header == body => Ok(()),
        (Some(None), _) => Err(format!("`{name}` cannot be read")),
        (None, Some(_)) => Err(format!("`{name}` is missing")),
        (Some(Some(_)), _) => Err(format!("`{name}` is not what the body has")),
    }
}

/// What a header says; what is no visible ASCII stands in it as base64.
fn decoded(text: &str) -> Option<String> {
    match text.strip_prefix(BASE64_HEADER_PREFIX).and_then(|text| text.strip_suffix(BASE64_HEADER_SUFFIX)) {
        None => Some(text.to_owned()),
        Some(inner) => String::from_utf8(base64::engine::general_purpose::STANDARD.decode(inner).ok()?).ok(),
    }
}
