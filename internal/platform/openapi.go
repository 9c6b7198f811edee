package platform

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/catalog"
)

// The OpenAPI document without what the table of routes says, and the schemas
// that the table names.
var (
	//go:embed openapi.json
	openAPIBase []byte
	//go:embed schemas.json
	openAPISchemas json.RawMessage
)

// object is a JSON object.
type object = map[string]any

func (a *API) openAPI(*call) (any, error) { return a.document, nil }

// newDocument returns the OpenAPI 3.1 document of a table of routes.
func newDocument(routes []*route) (json.RawMessage, error) {
	var doc, components object
	if err := json.Unmarshal(openAPIBase, &doc); err != nil {
		return nil, fmt.Errorf("platform: openapi.json: %w", err)
	}
	components, _ = doc["components"].(object)
	components["schemas"] = openAPISchemas
	paths := map[string]object{}
	add := func(path string, rt *route, op operation) {
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path][strings.ToLower(rt.method)] = rt.describe(path, op)
	}
	for _, rt := range routes {
		op, ok := operations[rt.method+" "+rt.path]
		if !ok {
			return nil, fmt.Errorf("platform: %s %s is not described", rt.method, rt.path)
		}
		add(rt.template("/v1"), rt, op)
		if op.out2 != "" {
			op.id, op.out = op.id+"V2", op.out2
			add(rt.template("/v2"), rt, op)
		}
	}
	doc["paths"] = paths
	return json.Marshal(doc)
}

// template returns the route's path in the document.
func (rt *route) template(version string) string {
	path := version
	if !rt.global {
		path += "/organizations/{organization}"
	}
	if rt.path != "" {
		path += "/" + rt.path
	}
	return path
}

// describe returns the operation of a route at a path.
func (rt *route) describe(path string, op operation) object {
	d := object{
		"operationId": op.id, "summary": summary(strings.TrimSuffix(op.id, "V2")), "tags": []string{rt.tag()}, "responses": rt.responses(op),
	}
	if p := op.parameters(path); len(p) > 0 {
		d["parameters"] = p
	}
	switch {
	case op.in == bodyUpload:
		file := object{"type": "string", "contentMediaType": "application/octet-stream"}
		d["requestBody"] = object{"required": true, "content": object{
			"application/octet-stream": object{},
			"multipart/form-data":      object{"schema": object{"type": "object", "properties": object{"file": file}}},
		}}
	case op.in != "":
		d["requestBody"] = object{"content": content(op.in)}
	}
	switch {
	case rt.public:
		d["security"] = []any{}
	case rt.role != catalog.RoleNone:
		d["description"] = fmt.Sprintf("Needs the role %s in the organization.", rt.role)
		d["x-agentdb-role"] = rt.role.String()
	}
	return d
}

// word is one within an operation's ID, but for the first.
var word = regexp.MustCompile("[A-Z][a-z]+")

// summary makes a sentence of an operation's ID.
func summary(id string) string {
	s := word.ReplaceAllStringFunc(id, func(w string) string { return " " + strings.ToLower(w) })
	s = strings.Replace(s, "API", " API", 1)
	return strings.ToUpper(s[:1]) + s[1:]
}

// tag is the part of the API that a route is in.
func (rt *route) tag() string {
	first, _ := cutSegment(rt.path)
	switch first {
	case "databases", "groups", "members":
		return first
	case "invites":
		return "members"
	case "auth":
		return "tokens"
	case "openapi.json", "locations", "user", "current-user", "backups":
		return "server"
	}
	return "organizations"
}

// parameters refers to those of the path and of the query.
func (op *operation) parameters(path string) (all []any) {
	for _, s := range strings.Split(path, "/") {
		if name, ok := strings.CutPrefix(s, "{"); ok {
			all = append(all, ref("parameters", strings.TrimSuffix(name, "}")))
		}
	}
	for _, name := range strings.Fields(op.query) {
		if name == "group" { // there is one in paths, too
			name = "in_group"
		}
		all = append(all, ref("parameters", name))
	}
	return all
}

// responses describes the answer, and the errors that there can be.
func (rt *route) responses(op operation) object {
	all := object{"default": ref("responses", "default")}
	ok := object{"description": "Done."}
	switch {
	case op.out == answerFile:
		ok["content"] = object{"application/vnd.sqlite3": object{}}
		ok["headers"] = object{"Agentdb-Revision": object{"description": "The revision that the file is of.", "schema": object{"type": "string"}}}
	default:
		ok["content"] = content(op.out)
	}
	all["200"] = ok
	for _, status := range rt.statuses(op) {
		all[status] = ref("responses", status)
	}
	return all
}

// statuses are those of the errors that a route answers with.
func (rt *route) statuses(op operation) []string {
	all := strings.Fields(op.fails)
	if !rt.public {
		all = append(all, "401")
	}
	if !rt.global {
		all = append(all, "404")
	}
	if rt.role > catalog.RoleViewer {
		all = append(all, "403")
	}
	if rt.method != get {
		all = append(all, "507")
	}
	if op.in != "" || op.query != "" {
		all = append(all, "400")
	}
	if op.in != "" {
		all = append(all, "413")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func content(schema string) object {
	return object{"application/json": object{"schema": ref("schemas", schema)}}
}

// ref refers to a component of the document.
func ref(kind, name string) object {
	return object{"$ref": "#/components/" + kind + "/" + name}
}
