package platform

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// load fills a new database with a SQLite file: through the API, or, in Turso's
// cloud, at the database's own host.
func (s *Databases) load(ctx context.Context, d *Database, file io.Reader) error {
	r := &request{method: http.MethodPost, path: s.c.in("databases", d.Name, "seed"), body: file, size: sizeOf(file), kind: "application/vnd.sqlite3"}
	if host, ok := strings.CutPrefix(d.URL, "libsql://"); ok {
		token, err := s.CreateToken(ctx, d.Name, TokenOptions{Expiration: time.Hour})
		if err != nil {
			return err
		}
		r.host = &target{url: s.c.base.Scheme + "://" + host + "/v1/upload", token: token}
	}
	return s.c.call(ctx, r, nil)
}

// uploadDump hands in SQL text, and returns the URL to create a database from.
func (s *Databases) uploadDump(ctx context.Context, script io.Reader) (string, error) {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_, err := w.CreateFormFile("file", "dump.sql")
	if err != nil {
		return "", fmt.Errorf("platform: upload a dump: %w", err)
	}
	head := bytes.Clone(form.Bytes())
	form.Reset()
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("platform: upload a dump: %w", err)
	}
	r := &request{
		method: http.MethodPost, path: s.c.in("databases", "dumps"), kind: w.FormDataContentType(),
		body: io.MultiReader(bytes.NewReader(head), script, &form),
	}
	if n := sizeOf(script); n > 0 {
		r.size = int64(len(head)) + n + int64(form.Len())
	}
	var ans struct {
		URL string `json:"dump_url"`
	}
	err = s.c.call(ctx, r, &ans)
	return ans.URL, err
}

// sizeOf returns how much is left to read, 0 if that is unknown.
func sizeOf(r io.Reader) int64 {
	switch r := r.(type) {
	case interface{ Len() int }: // a buffer
		return int64(r.Len())
	case *os.File:
		info, err := r.Stat()
		if err != nil || !info.Mode().IsRegular() {
			return 0
		}
		if at, err := r.Seek(0, io.SeekCurrent); err == nil {
			return info.Size() - at
		}
	}
	return 0
}

// Export writes a database as a SQLite file to w, as it was at a point, and
// returns its size. After an error w has half a file. agentdb only.
func (s *Databases) Export(ctx context.Context, name string, at Point, w io.Writer) (int64, error) {
	q := url.Values{}
	if at.revision != nil {
		q.Set("revision", strconv.FormatUint(*at.revision, 10))
	} else if t := at.timestamp(); t != "" {
		q.Set("timestamp", t)
	}
	res, err := s.c.do(ctx, &request{method: http.MethodGet, path: s.c.in("databases", name, "export"), query: q})
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	n, err := io.Copy(w, res.Body)
	if err != nil {
		err = fmt.Errorf("platform: export %s: %w", name, err)
	}
	return n, err
}
