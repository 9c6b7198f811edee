package platform

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/agentdb/agentdb/internal/catalog"
)

// configuration is what can be changed of a database; nil is left alone.
type configuration struct {
	SizeLimit        json.RawMessage `json:"size_limit"`
	RateLimit        *int64          `json:"rate_limit"` // requests per second; 0: the server's
	AllowAttach      *bool           `json:"allow_attach"`
	BlockReads       *bool           `json:"block_reads"`
	BlockWrites      *bool           `json:"block_writes"`
	DeleteProtection *bool           `json:"delete_protection"`
	ExpiresAt        *string         `json:"expires_at"` // "": never
	IdleTimeout      *string         `json:"idle_timeout"`
	OnExpiry         *string         `json:"on_expiry"` // "": what the server does
}

func configurationOf(d *catalog.Database) map[string]any {
	conf := map[string]any{
		"size_limit": strconv.FormatInt(d.SizeLimit, 10), "allow_attach": d.AllowAttach, "block_reads": d.BlockReads,
		"block_writes": d.BlockWrites, "delete_protection": d.Protected, "allowed_ips": []string{},
		"rate_limit": d.RateLimit,
	}
	if !d.Expires.IsZero() {
		conf["expires_at"] = d.Expires
	}
	if d.Idle > 0 {
		conf["idle_timeout"] = d.Idle.String()
	}
	if d.OnExpiry != "" {
		conf["on_expiry"] = d.OnExpiry
	}
	return conf
}

func (a *API) getConfiguration(c *call) (any, error) {
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	return configurationOf(&d), nil
}

func (a *API) configure(c *call) (any, error) {
	var req configuration
	if err := c.body(&req); err != nil {
		return nil, err
	}
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	d, err = a.cfg.Store.UpdateDatabase(c.noted(), d.Name, d.ID, func(d *catalog.Database) (err error) {
		for _, f := range []struct {
			to   *bool
			from *bool
		}{
			{&d.AllowAttach, req.AllowAttach},
			{&d.BlockReads, req.BlockReads},
			{&d.BlockWrites, req.BlockWrites},
			{&d.Protected, req.DeleteProtection},
		} {
			if f.from != nil {
				*f.to = *f.from
			}
		}
		if len(req.SizeLimit) > 0 {
			if d.SizeLimit, err = parseSize(req.SizeLimit); err != nil {
				return err
			}
		}
		if req.RateLimit != nil {
			if *req.RateLimit < 0 {
				return fail(http.StatusBadRequest, "rate_limit %d is not a number of requests per second, or 0", *req.RateLimit)
			}
			d.RateLimit = *req.RateLimit
		}
		if req.ExpiresAt != nil {
			if d.Expires, err = a.expiry(*req.ExpiresAt, ""); err != nil {
				return err
			}
		}
		if req.OnExpiry != nil {
			if d.OnExpiry, err = a.onExpiry(*req.OnExpiry); err != nil {
				return err
			}
		}
		if req.IdleTimeout != nil {
			a.Used(d.Name) // until now nobody may have noted that it was
			d.Idle, err = parseLifetime(*req.IdleTimeout)
		}
		c.audit["configuration"] = configurationOf(d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return configurationOf(&d), nil
}
