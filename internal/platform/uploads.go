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
	"time"

	"github.com/google/uuid"

	"github.com/agentdb/agentdb/internal/tenant"
)

// uploadDump takes a SQL dump, and answers with the URL to create a database
// from.
func (a *API) uploadDump(c *call) (any, error) {
	path, err := a.receive(c)
	if err != nil {
		return nil, err
	}
	if err := c.write(); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	id, _, _ := strings.Cut(filepath.Base(path), ".")
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
	if err := c.same(&d); err != nil { // that took a while
		return nil, err
	}
	if err := c.begin(); err != nil {
		return nil, err
	}
	if _, err := a.cfg.Databases.LoadFile(c.guard(&d), d.Name, path, c.user); err != nil {
		if errors.Is(err, tenant.ErrExists) {
			err = fail(http.StatusConflict, "database %s has contents already", d.Name)
		}
		return nil, err
	}
	return map[string]any{"database": c.database(&d)}, nil
}

// uploadLife is how long a dump waits for its database to be created.
const uploadLife = time.Hour

// uploadPath is where an organisation's upload is. Others don't find it.
func (a *API) uploadPath(org, id string) string {
	return filepath.Join(a.cfg.UploadDir, id+"."+org+".upload")
}

// dropUploads removes the uploads that nobody came back for.
func (a *API) dropUploads() error {
	files, err := os.ReadDir(a.cfg.UploadDir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil && a.cfg.Now().Sub(info.ModTime()) > uploadLife {
			_ = os.Remove(filepath.Join(a.cfg.UploadDir, f.Name())) // it is tried again
		}
	}
	return nil
}

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
	path = a.uploadPath(c.org, uuid.NewString())
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, body)
	if err = errors.Join(err, f.Close()); err == nil {
		err = c.admit()
	}
	if err == nil {
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

// uploaded opens an organisation's dump by the URL that uploadDump gave. No other
// URL is followed.
func (a *API) uploaded(org, link string) (*os.File, error) {
	u, err := url.Parse(link)
	id := ""
	if err == nil {
		_, id, _ = strings.Cut(u.Path, "/v1/databases/dumps/")
	}
	if uuid.Validate(id) != nil {
		return nil, fail(http.StatusBadRequest, "seed.url must be the dump_url of an upload to /v1/databases/dumps")
	}
	f, err := os.Open(a.uploadPath(org, id))
	if err != nil {
		return nil, fail(http.StatusNotFound, "the dump is not there any more: upload it again")
	}
	return f, nil
}
