package server

import (
	"net"
	"net/http"
	"strings"
)

// defaultDatabase is the name of the database of the bare host.
const defaultDatabase = "default"

// namespaceHeader names a database as clients of libSQL's server do.
const namespaceHeader = "X-Namespace"

// namedDatabase returns the name in a request, which may be a bad one: that of
// the path, else that of the X-Namespace header, else that of the host; "" if
// there is none in it.
func (s *Server) namedDatabase(r *http.Request) string {
	if name := r.PathValue("name"); name != "" {
		return name
	}
	if name := r.Header.Get(namespaceHeader); name != "" {
		return name
	}
	return withoutOrganization(hostDatabase(r.Host, s.cfg.Domain), s.cfg.Organization)
}

// withoutOrganization returns NAME of NAME-ORG and of NAME--GROUP--ORG, as
// Turso's clients know hosts, and any other name as it is.
func withoutOrganization(name, org string) string {
	if org == "" {
		return name
	}
	if short, ok := strings.CutSuffix(name, "--"+org); ok {
		if i := strings.LastIndex(short, "--"); i > 0 && i+2 < len(short) {
			return short[:i]
		}
	}
	if short, ok := strings.CutSuffix(name, "-"+org); ok && short != "" {
		return short
	}
	return name
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
