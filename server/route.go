package server

import (
	"net"
	"net/http"
	"strings"

	"github.com/agentdb/agentdb/internal/tenant"
)

// defaultDatabase is the name of the database of the bare host.
const defaultDatabase = "default"

// namespaceHeader names a database as clients of libSQL's server do.
const namespaceHeader = "X-Namespace"

// database returns the name of the database that a request is for: that of the
// path, else that of the X-Namespace header, else that of the host, else the
// default.
func (s *Server) database(r *http.Request) (string, error) {
	name := s.namedDatabase(r)
	if name == "" {
		name = defaultDatabase
	}
	return tenant.ParseName(name)
}

// namedDatabase returns the name in a request, which may be a bad one; "" if
// there is none in it.
func (s *Server) namedDatabase(r *http.Request) string {
	if name := r.PathValue("name"); name != "" {
		return name
	}
	if name := r.Header.Get(namespaceHeader); name != "" {
		return name
	}
	return hostDatabase(r.Host, s.cfg.Domain)
}

// hostDatabase returns the name in a request's host; see Config.Domain. It may
// be a bad one, and is "" if there is none.
func hostDatabase(host, domain string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if net.ParseIP(strings.Trim(host, "[]")) != nil {
		return ""
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if domain != "" {
		name, _ := strings.CutSuffix(host, "."+domain)
		if name == host {
			return ""
		}
		return name
	}
	if name, _, ok := strings.Cut(host, "."); ok {
		return name
	}
	return ""
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
