package host

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/kpls-agent/internal/settings"
)

// TestSlowTokens: a token endpoint that does not answer costs a check of a listener
// less than the check may take.
func TestSlowTokens(t *testing.T) {
	end := make(chan struct{})
	endpoint := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer endpoint.Close()
	defer close(end)
	const class = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLogin"
	dir := t.TempDir()
	text := "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.login.callback.handler.class=" + class + "CallbackHandler\n" +
		"sasl.oauthbearer.token.endpoint.url=" + endpoint.URL + "\nsasl.jaas.config=" + class + `Module required clientId="a" clientSecret="b";` + "\n"
	path := filepath.Join(dir, "settings.yaml")
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "client.properties"), []byte(text), 0o600),
		os.WriteFile(path, []byte("kafka: {client_properties: client.properties}\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	s, _, err := settings.Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, _, err := ListenerLogin(s, Node{}, 5*time.Second).Token(ctx); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		t.Error(err)
	}
	// The agent's own questions may wait longer: nothing but themselves hangs on them.
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := kafkaLogin(s, "").Token(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
