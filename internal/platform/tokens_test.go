package platform

import (
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
)

// TestTokensDontOutlive: an API token that ends makes none that ends later, by
// any number of steps; one without an end makes any.
func TestTokensDontOutlive(t *testing.T) {
	f := newFixture(t, nil)
	ends := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	_, secret, err := f.store.CreateAPIToken(t.Context(), catalog.APIToken{Name: "brief", Username: "ada", Expires: ends})
	if err != nil {
		t.Fatal(err)
	}
	brief := string(secret)
	for _, expiration := range []string{"never", "none", "61m", "100y"} {
		for _, v := range []string{"/v1", "/v2"} {
			f.want(t, 403, brief, post, v+"/auth/api-tokens/longer?expiration="+expiration, nil)
		}
	}
	child, _ := f.want(t, 200, brief, post, "/v2/auth/api-tokens/same", nil).at("token", "value").(string)
	f.want(t, 200, brief, post, "/v1/auth/api-tokens/shorter?expiration=59m", nil)
	f.want(t, 403, child, post, "/v1/auth/api-tokens/longer?expiration=never", nil)
	grandchild, _ := f.want(t, 200, child, post, "/v1/auth/api-tokens/again", nil).at("token").(string)
	if got := f.want(t, 200, grandchild, get, "/v1/auth/validate", nil).at("exp"); got != float64(ends.Unix()) {
		t.Errorf("it ends at %v, want %d", got, ends.Unix())
	}
	lasting := f.token(t, "ada")
	eternal, _ := f.want(t, 200, lasting, post, "/v1/auth/api-tokens/eternal", nil).at("token").(string)
	f.want(t, 200, eternal, post, "/v1/auth/api-tokens/long?expiration=100y", nil)
	if got := f.want(t, 200, eternal, get, "/v1/auth/validate", nil).at("exp"); got != -1.0 {
		t.Errorf("it ends at %v", got)
	}
}
