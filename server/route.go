package server

import (
	"net"
	"net/http"
	"strings"

	"github.com/agentdb/agentdb/internal/tenant"
)

// defaultDatabase is the name of the database of the bare host.
const defaultDatabase = "default"

// database returns the name of the database that a request is for: that of the
// path, else that of the host, else the default.
func (s *Server) database(r *http.Request) (string, error) {
	name := r.PathValue("name")
	if name == "" {
		name = hostDatabase(r.Host, s.cfg.Domain)
	}
	return tenant.ParseName(name)
}

// hostDatabase returns the name in a request's host; see Config.Domain. It may
// be a bad one.
func hostDatabase(host, domain string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if net.ParseIP(strings.Trim(host, "[]")) != nil {
		return defaultDatabase
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if domain != "" {
		if name, ok := strings.CutSuffix(host, "."+domain); ok {
			return name
		}
		return defaultDatabase
	}
	if name, _, ok := strings.Cut(host, "."); ok {
		return name
	}
	return defaultDatabase
}

// isLoopback reports whether a host, with or without a port, is this machine's
// own. Names below localhost are, by RFC 6761.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
