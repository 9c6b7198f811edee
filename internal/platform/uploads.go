package platform

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// uploadDump takes a SQL dump, and answers with the URL to create a database
// from.
func (a *API) uploadDump(c *call) (any, error) {
	path, err := a.receive(c)
	if err != nil {
		return nil, err
	}
	id := strings.TrimSuffix(filepath.Base(path), uploadSuffix)
	return map[string]any{"dump_url": c.base() + "/v1/databases/dumps/" + id}, nil
}

// seedDatabase loads a SQLite file into a database that has no contents yet.
func (a *API) seedDatabase(c *call) (any, error) {
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	path, err := a.receive(c)
	if err != nil {
		return nil, err
	}
	defer os.Remove(path)
	if _, err := a.cfg.Databases.LoadFile(c.Context(), d.Name, path, c.user); err != nil {
		return nil, err
	}
	return map[string]any{"database": c.database(&d)}, nil
}

const uploadSuffix = ".upload"

// receive writes what is uploaded into a file: the body, or its first file if it
// is a form.
func (a *API) receive(c *call) (path string, err error) {
	body := io.Reader(http.MaxBytesReader(c.w, c.Body, a.cfg.MaxUpload))
	if kind, params, _ := mime.ParseMediaType(c.Header.Get("Content-Type")); kind == "multipart/form-data" && params["boundary"] != "" {
		c.Request.Body = io.NopCloser(body)
		form, err := c.MultipartReader()
		if err != nil {
			return "", fail(http.StatusBadRequest, "the form can't be read: %v", err)
		}
		part, err := form.NextPart()
		for err == nil && part.FileName() == "" && part.FormName() != "file" {
			part, err = form.NextPart()
		}
		if err != nil {
			return "", fail(http.StatusBadRequest, "the form has no file")
		}
		body = part
	}
	path = filepath.Join(a.cfg.UploadDir, uuid.NewString()+uploadSuffix)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, body)
	if err = errors.Join(err, f.Close()); err == nil {
		return path, nil
	}
	os.Remove(path)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return "", fail(http.StatusRequestEntityTooLarge, "the upload is above %d bytes", tooLarge.Limit)
	}
	if c.Context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fail(http.StatusBadRequest, "the upload was cut short")
	}
	return "", err
}

// uploaded opens a dump by the URL that uploadDump gave. No other URL is
// followed.
func (a *API) uploaded(link string) (*os.File, error) {
	u, err := url.Parse(link)
	id := ""
	if err == nil {
		_, id, _ = strings.Cut(u.Path, "/v1/databases/dumps/")
	}
	if uuid.Validate(id) != nil {
		return nil, fail(http.StatusBadRequest, "seed.url must be the dump_url of an upload to /v1/databases/dumps")
	}
	f, err := os.Open(filepath.Join(a.cfg.UploadDir, id+uploadSuffix))
	if err != nil {
		return nil, fail(http.StatusNotFound, "the dump is not there any more: upload it again")
	}
	return f, nil
}
