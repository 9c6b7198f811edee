package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// recheck is how often a certificate's files are looked at.
const recheck = time.Second

// certificate is that of two files, read again when they change: whoever renews
// it need not restart the server.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex // guards what follows
	has     *tls.Certificate
	changed time.Time // the newer of both files' times, when they were read
	checked time.Time
	bad     time.Time // the files' time when they could not be read
}

// newCertificate reads the files; it fails if they don't make a certificate.
func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("--tls-cert and --tls-key belong together")
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, checked: time.Now()}
	return c, c.read()
}

func (c *certificate) read() error {
	t, err := c.modified()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	c.has, c.changed = &pair, t
	return nil
}

// modified returns when the files were written last.
func (c *certificate) modified() (last time.Time, err error) {
	for _, path := range []string{c.certFile, c.keyFile} {
		st, err := os.Stat(path)
		if err != nil {
			return last, fmt.Errorf("certificate: %w", err)
		}
		if st.ModTime().After(last) {
			last = st.ModTime()
		}
	}
	return last, nil
}

// get is a tls.Config's GetCertificate. Files that can't be read, as while they
// are being written, leave the certificate as it is.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < recheck {
		return c.has, nil
	}
	c.checked = time.Now()
	t, err := c.modified()
	if err == nil && (t.Equal(c.changed) || t.Equal(c.bad)) {
		return c.has, nil
	}
	if err := c.read(); err != nil {
		c.bad = t
		c.log.Warn("the certificate has changed and can't be read; the old one stays", "err", err)
		return c.has, nil
	}
	c.log.Info("the certificate was read again")
	return c.has, nil
}
