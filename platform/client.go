package platform

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// DefaultBaseURL is Turso's.
const DefaultBaseURL = "https://api.turso.tech/v1/"

// Config says which API a client talks to.
type Config struct {
	// Token is an API token. Default "": none, for a server in dev mode.
	Token string
	// Org is the slug of the organization whose databases, groups and members
	// are meant. Default "": the server's default one; Turso needs it.
	Org string
	// BaseURL is the API's address, such as http://127.0.0.1:8080/v1/; without
	// a path, /v1/ is added. Default DefaultBaseURL.
	BaseURL string
	// HTTPClient makes the requests. Default nil: a client of its own with
	// pooled connections.
	HTTPClient *http.Client
}

// Client is a client of the Platform API, safe for concurrent use.
type Client struct {
	Databases     *Databases
	Groups        *Groups
	Organizations *Organizations
	APITokens     *APITokens
	Locations     *Locations
}

// NewClient returns a client. It connects to nothing yet; a BaseURL that can't
// be used fails every call.
func NewClient(cfg Config) *Client {
	c := &conn{secret: cfg.Token, org: cfg.Org, http: cfg.HTTPClient}
	c.base, c.bad = parseBase(cfg.BaseURL)
	if c.http == nil {
		c.http = newHTTPClient()
	}
	return &Client{&Databases{c}, &Groups{c}, &Organizations{c}, &APITokens{c}, &Locations{c}}
}

func parseBase(s string) (*url.URL, error) {
	if s == "" {
		s = DefaultBaseURL
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("platform: base URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("platform: base URL %q is not one such as http://127.0.0.1:8080/v1/", s)
	case strings.Trim(u.Path, "/") == "":
		u.Path = "/v1/"
	case !strings.HasSuffix(u.Path, "/"):
		u.Path += "/"
	}
	return u, nil
}

// newHTTPClient returns a client that keeps enough connections for a program
// that makes many databases at once.
func newHTTPClient() *http.Client {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // somebody has replaced it
		return &http.Client{}
	}
	t = t.Clone()
	t.MaxIdleConnsPerHost = 32
	return &http.Client{Transport: t}
}
