package platform

import (
	"net/http"
	"testing"
	"time"
)

// TestIdleFromNow: a database that had no idle time has not been idle when it gets
// one.
func TestIdleFromNow(t *testing.T) {
	e := newExpiry(t)
	e.want(t, http.StatusOK, e.owner, "POST", "/v1/databases", map[string]any{"name": "old"})
	e.ahead.Store(int64(48 * time.Hour)) // the server runs, and the database is used, without anybody noting it
	e.want(t, http.StatusOK, e.owner, "PATCH", "/v1/databases/old/configuration", map[string]any{"idle_timeout": "1h"})
	if err := e.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.want(t, http.StatusOK, e.owner, "GET", "/v1/databases/old", nil)
	e.ahead.Add(int64(2 * time.Hour))
	if err := e.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.want(t, http.StatusNotFound, e.owner, "GET", "/v1/databases/old", nil)
}
