package server

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestHostnames: what the Platform API says where a database is, is there and
// nowhere else, whatever its name is and whatever the server knows of its own.
func TestHostnames(t *testing.T) {
	names := []string{
		"a", "a.b", "a.b.c", "b", "b.a", "a-acme", "a.b-acme", "a--g--acme", "acme", "x-acme-acme", "a_b", "a-", "a.-b", "a..b", "a.",
		strings.Repeat("l", 64), strings.Repeat("l", 63), strings.Repeat("l", 60) + ".l-l",
	}
	for what, cfg := range map[string]Config{
		"nothing":                  {},
		"a domain":                 {Domain: "db.test"},
		"an organization":          {Organization: "acme"},
		"a domain and its members": {Domain: "db.test", Organization: "acme"},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCloud(t, cfg)
			tokens := map[string]string{}
			for _, n := range names {
				tokens[n] = c.create(t, n)
				if status, b := c.sql(t, tokens[n], n, "", "CREATE TABLE who(name)", fmt.Sprintf("INSERT INTO who VALUES ('=%s=')", n)); status != 200 {
					t.Fatalf("%s: %d %s", n, status, b)
				}
			}
			for _, n := range names {
				host, _ := c.api(t, "GET", "/v1/databases/"+n, "")["database"].(map[string]any)["Hostname"].(string)
				if b := c.at(t, host, tokens[n]); !strings.Contains(b, "="+n+"=") {
					t.Errorf("at %s there is not %s: %s", host, n, b)
				}
			}
		})
	}
}

// at asks the database at a host, with a path after it or without, for its name.
func (c *cloud) at(t *testing.T, hostname, token string) string {
	t.Helper()
	host, path, _ := strings.Cut(hostname, "/")
	for label := range strings.SplitSeq(strings.Split(host, ":")[0], ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label {
			t.Errorf("%s is no host", host)
		}
	}
	body := strings.NewReader(`{"requests":[{"type":"execute","stmt":{"sql":"SELECT name FROM who"}}]}`)
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+c.addr+"/"+strings.TrimPrefix(path+"/v2/pipeline", "/"), body)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
