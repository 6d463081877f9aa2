//! Templates against what Go prints.

use super::{Template, Val};
use serde_json::json;

fn data() -> Val {
    Val::from(&json!({
        "Name": "web", "N": 3, "F": 1.5, "Empty": "", "Null": null, "On": true,
        "State": {"Status": "running", "Pid": 42},
        "Labels": {"b": "2", "a": "1", "com.x.y": "z"},
        "List": ["x", "y", "z"],
        "Nets": {"bridge": {"IP": "172.17.0.2"}},
    }))
}

fn render(text: &str) -> String {
    match Template::parse(text) {
        Ok(template) => template.render(&data()).unwrap_or_else(|e| e.to_string()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn table_of_templates() {
    for (text, want) in [
        ("plain", "plain"),
        ("{{.Name}}-{{ .N }}", "web-3"),
        ("{{.State.Status}} {{.State.Pid}}", "running 42"),
        ("{{.Missing}}", "<no value>"),
        ("{{.Null}}", "<nil>"),
        ("{{json .State}}", r#"{"Status":"running","Pid":42}"#),
        ("{{json .List}} {{json .Null}}", r#"["x","y","z"] null"#),
        ("{{if .On}}yes{{else}}no{{end}}", "yes"),
        (
            "{{if .Empty}}yes{{else if eq .N 3}}three{{else}}no{{end}}",
            "three",
        ),
        (
            "{{if not .Empty}}e{{end}}{{if and .On .Empty}}x{{end}}{{if or .Empty .On}}o{{end}}",
            "eo",
        ),
        ("{{range .List}}[{{.}}]{{end}}", "[x][y][z]"),
        (
            "{{range $i, $e := .List}}{{if $i}}, {{end}}{{$i}}={{$e}}{{end}}",
            "0=x, 1=y, 2=z",
        ),
        (
            "{{range $k, $v := .Labels}}{{$k}}:{{$v}} {{end}}",
            "a:1 b:2 com.x.y:z ",
        ),
        ("{{range .Nope}}x{{else}}none{{end}}", "none"),
        (
            "{{range .List}}{{if eq . \"y\"}}{{continue}}{{end}}{{.}}{{end}}",
            "xz",
        ),
        (
            "{{range .List}}{{if eq . \"y\"}}{{break}}{{end}}{{.}}{{end}}",
            "x",
        ),
        ("{{range .Nets}}{{.IP}}{{end}}", "172.17.0.2"),
        ("{{(index .Nets \"bridge\").IP}}", "172.17.0.2"),
        ("{{with .State}}{{.Status}}{{$.Name}}{{end}}", "runningweb"),
        ("{{with .Empty}}x{{else}}y{{end}}", "y"),
        ("{{$x := .Name}}{{$x}}{{$x = \"db\"}}{{$x}}", "webdb"),
        ("{{index .Labels \"com.x.y\"}}{{index .List 1}}", "zy"),
        ("{{len .List}}{{len .Name}}{{len .Labels}}", "333"),
        (
            "{{printf \"%s has %d (%5.2f) %q %v\" .Name .N .F .Name .List}}",
            "web has 3 ( 1.50) \"web\" [x y z]",
        ),
        (
            "{{printf \"%-6s|%6s|%03d\" .Name .Name .N}}",
            "web   |   web|003",
        ),
        ("{{.Name | upper | printf \"<%s>\"}}", "<WEB>"),
        (
            "{{join .List \",\"}} {{join (split \"a-b\" \"-\") \"+\"}}",
            "x,y,z a+b",
        ),
        (
            "{{title \"hello world\"}} {{lower \"ABC\"}}",
            "Hello World abc",
        ),
        (
            "{{pad .Name 2 1}}|{{pad .Empty 2 1}}|{{truncate .Name 2}}",
            "  web ||we",
        ),
        ("{{slice .Name 1 3}} {{slice .List 1}}", "eb [y z]"),
        (
            "{{lt 1 2}}{{le 2 2}}{{gt 1 2}}{{ge 1 2}}{{ne 1 2}}{{eq 1 3 1}}",
            "truetruefalsefalsetruetrue",
        ),
        ("{{.Labels}} {{.List}}", "map[a:1 b:2 com.x.y:z] [x y z]"),
        ("a {{- /* gone */ -}} b", "ab"),
        ("{{/* gone */}}x", "x"),
        ("a  {{- .N -}}  b", "a3b"),
        ("{{println .Name .N}}", "web 3\n"),
        ("{{print 1 2 \"a\" 3}}", "1 2a3"),
        (
            "{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .Name}}",
            "<web>",
        ),
        ("{{\"quo\\\"te\\n\"}}{{`raw\\n`}}", "quo\"te\nraw\\n"),
        ("{{html \"<a>\"}}", "&lt;a&gt;"),
        ("{{1.5}} {{0x10}} {{'a'}} {{true}}", "1.5 16 97 true"),
    ] {
        assert_eq!(render(text), want, "{text}");
    }
}

#[test]
fn table_of_errors() {
    for (text, want) in [
        ("{{.Name", "template: :1: unclosed action"),
        (
            "{{nope .Name}}",
            "template: :1: function \"nope\" not defined",
        ),
        ("{{}}", "template: :1: missing value for command"),
        ("{{if .On}}", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("x\n{{.Name}", "template: :2: bad character U+007D '}'"),
        (
            "{{.Name.Foo}}",
            "template: :1:7: executing \"\" at <.Name.Foo>: can't evaluate field Foo in type string",
        ),
        ("{{$x}}", "template: :1: undefined variable \"$x\""),
        (
            "{{lower 3}}",
            "template: :1:8: executing \"\" at <3>: expected string; found 3",
        ),
        (
            "{{lower .N}}",
            "template: :1:8: executing \"\" at <.N>: wrong type for value; expected string; got int",
        ),
        ("{{| .Name}}", "template: :1: unexpected \"|\" in command"),
        (
            "{{template \"nope\"}}",
            "template: :1:11: executing \"\" at <{{template \"nope\"}}>: template \"nope\" not defined",
        ),
        (
            "{{index .List 9}}",
            "template: :1:2: executing \"\" at <index .List 9>: error calling index: index out of range: 9",
        ),
    ] {
        assert_eq!(render(text), want, "{text}");
    }
}

#[test]
fn missing_keys_are_errors_on_demand() {
    let template = Template::parse("{{.State.Nope}}")
        .unwrap()
        .missing_is_error();
    assert_eq!(
        template.render(&data()).unwrap_err().to_string(),
        "template: :1:8: executing \"\" at <.State.Nope>: map has no entry for key \"Nope\""
    );
    let row = Val::object("*formatter.ContainerContext", vec![]);
    let template = Template::parse("{{.Nope}}").unwrap();
    assert_eq!(
        template.render(&row).unwrap_err().to_string(),
        "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *formatter.ContainerContext"
    );
}

#[test]
fn methods_take_arguments() {
    let label = Val::Method(std::rc::Rc::new(|args: &[Val]| {
        Ok(Val::str(format!("L{}", args[0].print())))
    }));
    let row = Val::object(
        "*formatter.ContainerContext",
        vec![("Label".to_owned(), label)],
    );
    let text = "{{.Label \"x\"}} {{\"y\" | .Label}}";
    assert_eq!(
        Template::parse(text).unwrap().render(&row).unwrap(),
        "Lx Ly"
    );
}

#[test]
fn titles_pass_through_functions() {
    let titles = Val::from(&json!({"Name": "NAME"}));
    let template = Template::parse("{{json .Name}} {{upper .Name}} {{truncate .Name 1}}").unwrap();
    assert_eq!(template.render_header(&titles).unwrap(), "NAME NAME NAME");
}

#[test]
fn mentions_finds_fields() {
    let template = Template::parse("{{.ID}} {{if .On}}{{.Size}}{{end}}").unwrap();
    assert!(template.mentions("Size") && !template.mentions("Names"));
    assert!(Template::parse("{{json .}}").unwrap().mentions("Size"));
}
