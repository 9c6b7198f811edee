package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

const (
	// acmeRetry is the first wait after an order that failed; each is twice the
	// one before, up to acmeRetryMost. Let's Encrypt allows 5 failures an hour.
	acmeRetry     = 2 * time.Minute
	acmeRetryMost = time.Hour
	// acmeLook is how often a certificate's end is looked at.
	acmeLook = 12 * time.Hour
	// acmeLate is how long before its end a certificate should be another.
	acmeLate = 21 * 24 * time.Hour
)

// acmeFlags are the settings of automatic certificates.
type acmeFlags struct {
	Domain    []string `sep:"," placeholder:"HOST" help:"Speak HTTPS with certificates for these names that are got, and renewed, by ACME. The CA must reach the server at port 443 of each. You accept the CA's terms of service by this."`
	Email     string   `placeholder:"ADDRESS" help:"Where the CA may write to."`
	Directory string   `placeholder:"URL" help:"The CA's directory. Default: Let's Encrypt."`
}

// acmeHost is a host name as certificates have it, in ASCII; no IP address.
var acmeHost = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// acmeName returns the form that names are compared in.
func acmeName(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// directory returns the URL of the CA's directory.
func (f *acmeFlags) directory() (*url.URL, error) {
	if f.Directory == "" {
		return url.Parse(autocert.DefaultACMEDirectory)
	}
	u, err := url.Parse(f.Directory)
	if err != nil {
		return nil, fmt.Errorf("--acme-directory: %w", err)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !ip.IsLoopback()) {
		return nil, fmt.Errorf("--acme-directory %s is no https:// address", f.Directory)
	}
	return u, nil
}

// automatic is certificates that a CA gives by ACME, RFC 8555. They are ordered
// by its own loops only, never by a handshake: strangers can't use up what the
// CA allows.
type automatic struct {
	manager *autocert.Manager
	log     *slog.Logger
	first   string                  // for who gives no name
	ready   map[string]*atomic.Bool // by name: whether there is a certificate
}

// newAutomatic keeps keys and certificates in a directory for each CA below
// data, which is made when there is something to keep.
func newAutomatic(f *acmeFlags, data string, log *slog.Logger) (*automatic, error) {
	dir, err := f.directory()
	if err != nil {
		return nil, err
	}
	a := &automatic{log: log, first: acmeName(f.Domain[0]), ready: map[string]*atomic.Bool{}}
	for _, host := range f.Domain {
		name := acmeName(host)
		if len(name) > 253 || !acmeHost.MatchString(name) {
			return nil, fmt.Errorf("--acme-domain %q is no host name in ASCII that a certificate can be had for", host)
		}
		a.ready[name] = new(atomic.Bool)
	}
	a.manager = &autocert.Manager{
		Prompt: autocert.AcceptTOS,
		Email:  f.Email,
		Cache:  &acmeCache{DirCache: autocert.DirCache(acmeDir(data, dir)), names: a.ready, log: log},
		Client: &acme.Client{
			DirectoryURL: dir.String(),
			HTTPClient:   &http.Client{Timeout: 30 * time.Second},
			UserAgent:    "agentdb",
			RetryBackoff: acmeBackoff,
		},
	}
	return a, nil
}

// acmeDir is where what a CA gave is kept. Another CA, like the staging server
// of the same, has another.
func acmeDir(data string, directory *url.URL) string {
	return filepath.Join(data, "acme", strings.NewReplacer(":", "_", "[", "", "]", "").Replace(directory.Host))
}

// acmeBackoff is how long to wait before a request is sent again. What the CA
// says is too much is left to the next order.
func acmeBackoff(n int, _ *http.Request, res *http.Response) time.Duration {
	if n > 4 || res != nil && res.StatusCode == http.StatusTooManyRequests {
		return -1
	}
	return time.Duration(n) * time.Second
}

// config returns settings of HTTPS with the certificates.
func (a *automatic) config() *tls.Config {
	return &tls.Config{
		GetCertificate: a.get,
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1", acme.ALPNProto},
	}
}

// get is a tls.Config's GetCertificate. It answers the CA's challenges too,
// TLS-ALPN-01 of RFC 8737.
func (a *automatic) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := acmeName(hello.ServerName)
	if name == "" {
		name = a.first
	}
	ready, ok := a.ready[name]
	if !ok {
		return nil, fmt.Errorf("no certificate for %q, which --acme-domain doesn't have", name)
	}
	protos := hello.SupportedProtos
	if challenge := slices.Equal(protos, []string{acme.ALPNProto}); !challenge && !ready.Load() {
		return nil, fmt.Errorf("no certificate for %q yet", name)
	}
	return a.certificate(name, protos)
}

// certificate asks for one with an ECDSA key, whatever the client is able to:
// there is one for each name.
func (a *automatic) certificate(name string, protos []string) (*tls.Certificate, error) {
	return a.manager.GetCertificate(&tls.ClientHelloInfo{
		ServerName:      name,
		SupportedProtos: protos,
		CipherSuites:    []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
}

// start gets the certificates that aren't there, while ctx lasts. It doesn't
// wait for them.
func (a *automatic) start(ctx context.Context) {
	for name := range a.ready {
		go a.keep(ctx, name)
	}
}

// keep gets a certificate, which the manager then renews, and says so if that
// doesn't happen. An order under way ends with the process.
func (a *automatic) keep(ctx context.Context, name string) {
	for retry := acmeRetry; ; {
		wait := acmeLook
		cert, err := a.certificate(name, nil)
		if err != nil {
			a.log.Warn("no certificate: is the name's port 443 this server?", "name", name, "again", retry, "err", err)
			wait, retry = retry, min(2*retry, acmeRetryMost)
		} else {
			a.have(name, cert)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// have notes that there is a certificate, and looks at its end. The manager
// renews it when a third of its time is left, or 30 days.
func (a *automatic) have(name string, cert *tls.Certificate) {
	if !a.ready[name].Swap(true) {
		a.log.Info("there is a certificate", "name", name, "until", cert.Leaf.NotAfter)
	}
	if time.Until(cert.Leaf.NotAfter) < min(cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)/4, acmeLate) {
		a.log.Warn("the certificate should have been renewed: is the name's port 443 this server?", "name", name, "until", cert.Leaf.NotAfter)
	}
}

// acmeCache logs what is kept, and what can't be, which the manager doesn't.
type acmeCache struct {
	autocert.DirCache
	names map[string]*atomic.Bool
	log   *slog.Logger
}

// Put implements autocert.Cache.
func (c *acmeCache) Put(ctx context.Context, key string, data []byte) error {
	err := c.DirCache.Put(ctx, key, data)
	if err != nil {
		c.log.Warn("what the CA gave can't be kept", "key", key, "err", err)
	} else if _, ok := c.names[key]; ok {
		c.log.Info("a certificate was issued", "name", key)
	}
	return err
}

// tls returns the settings of HTTPS, nil for plain HTTP, and what to start when
// the server is there.
func (s *serveCmd) tls(log *slog.Logger) (config *tls.Config, start func(context.Context), err error) {
	start = func(context.Context) {}
	files := s.TLSCert != "" || s.TLSKey != ""
	switch {
	case len(s.ACME.Domain) == 0 && (s.ACME.Email != "" || s.ACME.Directory != ""):
		return nil, nil, errors.New("--acme-email and --acme-directory need --acme-domain")
	case len(s.ACME.Domain) > 0 && files:
		return nil, nil, errors.New("certificates come from --tls-cert or from --acme-domain, not from both")
	case len(s.ACME.Domain) > 0 && s.Dev:
		return nil, nil, errors.New("--dev listens on loopback, where no CA gets to: leave it or --acme-domain out")
	case len(s.ACME.Domain) > 0:
		a, err := newAutomatic(&s.ACME, s.Data, log)
		if err != nil {
			return nil, nil, err
		}
		return a.config(), a.start, nil
	case files:
		c, err := newCertificate(s.TLSCert, s.TLSKey, log)
		if err != nil {
			return nil, nil, err
		}
		return &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12}, start, nil
	}
	return nil, start, nil
}
