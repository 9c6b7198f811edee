package platform

import (
	"net"
	"strings"
)

// addresses returns where a client finds a database: its host, and a URL. Where
// no host can have the database's name, a path after the host does.
func (c *call) addresses(name string) (host, url string) {
	url = c.base() + "/db/" + name
	h, port, err := net.SplitHostPort(c.Host)
	if err != nil {
		h, port = c.Host, ""
	}
	ip := net.ParseIP(strings.Trim(h, "[]"))
	named := c.api.hostable(name)
	switch {
	case c.api.cfg.Domain != "":
		h = c.api.cfg.Domain
	case ip != nil && ip.IsLoopback():
		h = "localhost"
	case ip != nil:
		h, named = strings.Trim(h, "[]"), false
	}
	if named {
		h = name + "." + h
	}
	switch {
	case port != "":
		h = net.JoinHostPort(h, port)
	case strings.Contains(h, ":"):
		h = "[" + h + "]"
	}
	if !named {
		h += "/db/" + name
	}
	return h, url
}

// hostable reports whether a host can begin with a database's name, and is that
// database's then: without a domain of the server's own the first label is the
// name, and what ends as the organisation does is another's.
func (a *API) hostable(name string) bool {
	if a.cfg.Domain == "" && strings.Contains(name, ".") || a.suffix != "" && strings.HasSuffix(name, a.suffix) {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}
