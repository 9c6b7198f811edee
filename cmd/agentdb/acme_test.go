package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// acmeServer is "agentdb serve" with automatic certificates of a CA.
type acmeServer struct {
	t    *testing.T
	addr string
	ca   *ca
	cmd  *exec.Cmd
	log  bytes.Buffer // to be read when it has ended
}

// serveACME starts one in a data directory.
func serveACME(t *testing.T, c *ca, data string, domains ...string) *acmeServer {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &acmeServer{t: t, addr: c.server, ca: c}
	s.cmd = exec.Command(exe, "serve", "--listen", s.addr, "--data", data,
		"--acme-domain", strings.Join(domains, ","), "--acme-directory", c.URL+"/dir")
	s.cmd.Env = append(os.Environ(), "AGENTDB_TEST_MAIN=1", "AGENTDB_ACME_EMAIL=ops@example.com")
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() }) // it is gone by then, if all is well
	return s
}

// stop stops it, and returns its log.
func (s *acmeServer) stop() string {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("%v\n%s", err, s.log.String())
	}
	return s.log.String()
}

// dial connects for a name, and returns the certificate.
func (s *acmeServer) dial(name string) (*x509.Certificate, error) {
	roots := x509.NewCertPool()
	roots.AddCert(s.ca.root)
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: roots, ServerName: name})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// wait waits until a name has a certificate.
func (s *acmeServer) wait(name string) *x509.Certificate {
	s.t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var cert *x509.Certificate
		if cert, err = s.dial(name); err == nil {
			return cert
		}
	}
	s.t.Fatalf("%s: %v", name, err)
	return nil
}

// newCAOf starts a CA for a server that is still to be started, and stopped by a
// signal.
func newCAOf(t *testing.T) *ca {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no SIGTERM")
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return newCA(t, addr)
}

// TestACME gets certificates for two names from a CA, serves with them, and has
// them after a restart without asking again. Other names get none.
func TestACME(t *testing.T) {
	c, data := newCAOf(t), filepath.Join(t.TempDir(), "data")
	s := serveACME(t, c, data, "DB.example.com", "tasks.db.example.com")
	first, second := s.wait("db.example.com"), s.wait("tasks.db.example.com")
	if !slices.Equal(c.contacts, []string{"mailto:ops@example.com"}) {
		t.Errorf("contacts %q", c.contacts)
	}

	roots := x509.NewCertPool()
	roots.AddCert(c.root)
	for _, http2 := range []bool{false, true} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "db.example.com"}, ForceAttemptHTTP2: http2}}
		res, err := client.Get("https://" + c.server + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		client.CloseIdleConnections()
		if res.StatusCode != http.StatusOK || (res.ProtoMajor == 2) != http2 {
			t.Errorf("%s, %s", res.Proto, res.Status)
		}
	}
	for _, name := range []string{"other.example.com", "more.db.example.com", "example.com", "*.example.com", "..", "../key", "localhost"} {
		if cert, err := s.dial(name); err == nil {
			t.Errorf("%s: %v", name, cert.DNSNames)
		}
	}
	if n := c.count(); n != 2 {
		t.Errorf("%d orders for two names", n)
	}
	if log := s.stop(); strings.Contains(log, "PRIVATE") || strings.Count(log, "a certificate was issued") != 2 {
		t.Errorf("log:\n%s", log)
	}
	private(t, filepath.Join(data, "acme"))

	s = serveACME(t, c, data, "db.example.com", "tasks.db.example.com")
	if again := s.wait("db.example.com"); !again.Equal(first) {
		t.Error("another certificate after a restart")
	}
	if again := s.wait("tasks.db.example.com"); !again.Equal(second) {
		t.Error("another certificate after a restart")
	}
	if log := s.stop(); c.count() != 2 || len(c.accounts) != 1 {
		t.Errorf("%d orders and %d accounts after a restart\n%s", c.count(), len(c.accounts), log)
	}
}

// TestACMERenews shows that a certificate whose time ends is another one soon,
// while the server runs.
func TestACMERenews(t *testing.T) {
	c := newCAOf(t)
	c.lifetime = 3 * time.Second
	s := serveACME(t, c, filepath.Join(t.TempDir(), "data"), "db.example.com")
	first := s.wait("db.example.com")
	for end := time.Now().Add(20 * time.Second); s.wait("db.example.com").Equal(first); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it was not renewed")
		}
	}
	s.stop()
}

// private fails unless a directory and what is in it is for its owner only.
func private(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err == nil && st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", path, st.Mode())
		}
		if !d.IsDir() {
			files++
		}
		return err
	})
	if err != nil || files < 3 { // two certificates and the account
		t.Errorf("%d files, %v", files, err)
	}
}

// TestACMERefused: the server says why there is no certificate, and goes on.
func TestACMERefused(t *testing.T) {
	c := newCAOf(t)
	c.refuses = true
	s := serveACME(t, c, filepath.Join(t.TempDir(), "data"), "db.example.com")
	for end := time.Now().Add(20 * time.Second); c.count() == 0 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // for the answer to be there
	if _, err := s.dial("db.example.com"); err == nil {
		t.Error("a certificate from nowhere")
	}
	if log := s.stop(); c.count() != 1 || !strings.Contains(log, "not this name") {
		t.Errorf("%d orders, log:\n%s", c.count(), log)
	}
}

// TestACMEStrangers shows that handshakes order nothing, whatever name they have.
func TestACMEStrangers(t *testing.T) {
	c := newCA(t, "127.0.0.1:1")
	a, err := newAutomatic(&acmeFlags{Domain: []string{"db.example.com"}, Directory: c.URL + "/dir"}, t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"db.example.com", "DB.example.com.", "", "other.example.com"} {
		for _, protos := range [][]string{nil, {"h2"}, {"acme-tls/1"}, {"acme-tls/1", "h2"}} {
			if cert, err := a.get(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: protos}); err == nil {
				t.Errorf("%q %q: %v", name, protos, cert)
			}
		}
	}
	if len(c.accounts) > 0 || c.count() > 0 {
		t.Errorf("%d accounts and %d orders", len(c.accounts), c.count())
	}
}

// TestACMENames: what a certificate can't be had for is refused at the start, and
// each CA has a directory of its own.
func TestACMENames(t *testing.T) {
	for _, bad := range []string{"", "localhost", "192.0.2.1", "::1", "*.example.com", "db.example.com:443", "https://db.example.com", "dömäne.example", "-a.example", "a_b.example", strings.Repeat("a.", 130) + "example"} {
		if _, err := newAutomatic(&acmeFlags{Domain: []string{"db.example.com", bad}}, t.TempDir(), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	dirs := map[string]bool{}
	for _, at := range []string{"https://ca.example/dir", "https://staging.ca.example/dir", "https://ca.example:14000/dir", "http://[::1]:14000/dir"} {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		dir := acmeDir("data", u)
		if dirs[dir] || strings.ContainsAny(filepath.Base(dir), ":[]/") {
			t.Errorf("%s is kept in %s", at, dir)
		}
		dirs[dir] = true
	}
}
