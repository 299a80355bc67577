package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const tokenHead = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.login.callback.handler.class=" + tokenHandler + "\n"

// jwt is a token that nobody has signed, as anything that is not zero in it says.
func jwt(t *testing.T, issued, until time.Time) string {
	t.Helper()
	claims := map[string]any{"sub": "agent"}
	for name, at := range map[string]time.Time{"iat": issued, "exp": until} {
		if !at.IsZero() {
			claims[name] = at.Unix()
		}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(text) + ".x"
}

// provider is a token endpoint; it counts what it is asked.
type provider struct {
	*httptest.Server
	asked  atomic.Int32
	answer func(form url.Values, id, secret string) (int, string)
}

func newProvider(t *testing.T, start func(http.Handler) *httptest.Server) *provider {
	t.Helper()
	p := &provider{}
	p.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		id, secret, _ := r.BasicAuth()
		if err := r.ParseForm(); err != nil || r.Method != http.MethodPost || r.PostForm.Get("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		status, text := p.answer(r.PostForm, id, secret)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(p.Close)
	return p
}

func grants(token string) (int, string) {
	return http.StatusOK, fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, token)
}

func tokenOf(t *testing.T, text string) *Tokens {
	t.Helper()
	c, err := ReadClient(put(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if c.Mechanism != OAuthBearer {
		t.Errorf("%+v", c)
	}
	return NewTokens(c)
}

// TestTokenOfEndpoint: one question serves all logins for most of the token's life;
// what the file says is read again, and an endpoint that is down costs nothing while
// the token is good.
func TestTokenOfEndpoint(t *testing.T) {
	p := newProvider(t, httptest.NewServer)
	now := time.Now()
	first, second := jwt(t, now, now.Add(time.Hour)), jwt(t, now, now.Add(2*time.Hour))
	var got []string
	p.answer = func(form url.Values, id, secret string) (int, string) {
		got = append(got, id, secret, form.Get("scope"))
		return grants(first)
	}
	const jaas = "sasl.jaas.config=" + tokenModule + ` required clientId="agent" clientSecret="planted-secret:/\u00e4" scope="kafka all" extension_logicalCluster="lkc-1";` + "\n"
	path := put(t, tokenHead+jaas+"sasl.oauthbearer.token.endpoint.url="+p.URL+"/token\n")
	tokens := NewTokens(&Client{Path: path})
	expect := func(step, want string, asked int32) {
		t.Helper()
		token, extensions, err := tokens.Token(t.Context())
		if err != nil || token != want || !maps.Equal(extensions, map[string]string{"logicalCluster": "lkc-1"}) {
			t.Errorf("%s: %q, %v, %v", step, token, extensions, err)
		}
		if n := p.asked.Load(); n != asked {
			t.Errorf("%s: asked %d times, want %d", step, n, asked)
		}
	}
	expect("first", first, 1)
	expect("kept", first, 1)
	if diff := cmp.Diff([]string{"agent", "planted-secret:/ä", "kafka all"}, got); diff != "" {
		t.Error(diff)
	}
	p.answer = func(url.Values, string, string) (int, string) { return grants(second) }
	tokens.kept.renew = time.Now().Add(-time.Second)
	expect("four fifths are over", second, 2)
	p.answer = func(url.Values, string, string) (int, string) { return http.StatusServiceUnavailable, "" }
	tokens.kept.renew = time.Now().Add(-time.Second)
	expect("the endpoint is down", second, 3)
	tokens.kept.until = time.Now().Add(time.Second)
	if _, _, err := tokens.Token(t.Context()); err == nil || err.Error() != "ask "+p.URL+"/token for a token: it answers 503; correct the client's id, secret and scope, or the URL" {
		t.Error(err)
	}
	// Other words in the file: what was given for the old ones is no answer.
	p.answer = func(form url.Values, id, secret string) (int, string) {
		if id != "a%2Fb" || secret != "n%26w" || form.Has("scope") {
			t.Errorf("id %q, secret %q, scope %q", id, secret, form["scope"])
		}
		return grants(first)
	}
	text := tokenHead + "sasl.oauthbearer.token.endpoint.url=" + p.URL + "/token\nsasl.oauthbearer.header.urlencode=true\nsasl.oauthbearer.client.credentials.client.id=a/b\n" +
		"sasl.oauthbearer.client.credentials.client.secret=n&w\nsasl.jaas.config=" + tokenModule + " required extension_logicalCluster=\"lkc-1\";\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	before := mustFrom(t, tokens)
	expect("other words", first, 5)
	p.answer = func(url.Values, string, string) (int, string) { return grants(second) }
	if after := mustFrom(t, tokens); after != before {
		t.Errorf("a token makes another login: %q, %q", before, after)
	}
	tokens.Forget()
	expect("a broker has refused the token", second, 6)
	if err := os.WriteFile(path, []byte(strings.Replace(text, "n&w", "other", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if after := mustFrom(t, tokens); after == before {
		t.Error("another secret makes no other login")
	}
	tokens.turn <- struct{}{} // somebody asks for a token
	tokens.Forget()           // does not wait for that
}

func mustFrom(t *testing.T, tokens *Tokens) string {
	t.Helper()
	from, err := tokens.From()
	if err != nil {
		t.Fatal(err)
	}
	return from
}

// TestTokenOverTLS: the login module's own options say whom to trust.
func TestTokenOverTLS(t *testing.T) {
	p := newProvider(t, httptest.NewTLSServer)
	p.answer = func(url.Values, string, string) (int, string) { return grants("opaque") }
	trust := put(t, certPEM(p.Certificate()))
	text := func(options string) string {
		return tokenHead + "sasl.oauthbearer.token.endpoint.url=" + p.URL + "\nsasl.jaas.config=" + tokenModule + ` required clientId="agent" clientSecret="planted-secret"` + options + ";\n"
	}
	for range 2 {
		if token, _, err := tokenOf(t, text(` ssl.truststore.type="PEM" ssl.truststore.location="`+trust+`"`)).Token(t.Context()); token != "opaque" || err != nil {
			t.Error(token, err)
		}
	}
	_, _, err := tokenOf(t, text("")).Token(t.Context())
	if err == nil || !strings.Contains(err.Error(), "whom sasl.jaas.config trusts (ssl.truststore.location)") || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	c, err := ReadClient(put(t, text(` ssl.truststore.location="`+trust+`"`)))
	if err != nil || !cmp.Equal(c.Files, []string{trust}) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestTokenOfFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	good, old := jwt(t, time.Time{}, now.Add(time.Minute)), jwt(t, now.Add(-2*time.Hour), now.Add(-time.Hour))
	write(good + "\r\n")
	c, err := ReadClient(put(t, tokenHead+"sasl.oauthbearer.token.endpoint.url=file://"+path+"\nsasl.jaas.config="+tokenModule+" required;\n"))
	if err != nil || !cmp.Equal(c.Files, []string{path}) {
		t.Fatalf("%+v, %v", c, err)
	}
	tokens := NewTokens(c)
	for text, want := range map[string]string{
		good + "\r\n": "", "opaque": "", old: "the token in " + path + " has expired at ", "\n": "read the token: " + path + " is empty; write a token into it",
	} {
		write(text)
		token, _, err := tokens.Token(t.Context())
		if want == "" && (err != nil || token != strings.TrimSpace(text)) || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%q: %q, %v", text, token, err)
		}
		if from, err := tokens.From(); want == "" && (err != nil || !strings.HasPrefix(from, strings.TrimSpace(text))) || want != "" && err == nil {
			t.Errorf("%q: from %q, %v", text, from, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tokens.Token(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "name a readable file as "+keyEndpoint) {
		t.Error(err)
	}
}

// TestTokenRefused: what is wrong is known before a login, by property and what to do.
func TestTokenRefused(t *testing.T) {
	const endpoint, module = "sasl.oauthbearer.token.endpoint.url=https://id.example/token\n", "sasl.jaas.config=" + tokenModule + " required "
	const client = `clientId="agent" clientSecret="planted-secret"`
	const sasl = "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n"
	for name, tt := range map[string]struct{ text, want string }{
		"no handler":     {sasl + endpoint + module + client + ";", "FILE: sasl.login.callback.handler.class is missing, with which Kafka's clients make an unsecured token of their own; write " + tokenHandler},
		"other handler":  {sasl + "sasl.login.callback.handler.class=io.strimzi.Handler\n" + endpoint + module + client + ";", "FILE:3: sasl.login.callback.handler.class names a Java class, which the agent cannot run; use " + tokenHandler + ", or name another listener of the brokers as kafka.listener"},
		"assertion":      {tokenHead + endpoint + "sasl.oauthbearer.jwt.retriever.class=org.apache.kafka.common.security.oauthbearer.JwtBearerJwtRetriever\n" + module + client + ";", "FILE:5: sasl.oauthbearer.jwt.retriever.class names a Java class, which the agent cannot run; use " + retrievers[1] + " or " + retrievers[2]},
		"no endpoint":    {tokenHead + module + client + ";", "FILE: sasl.oauthbearer.token.endpoint.url is missing; write the URL of the token endpoint there, or file:///PATH of a file with a token"},
		"no URL":         {tokenHead + "sasl.oauthbearer.token.endpoint.url=id.example/token\n" + module + client + ";", "FILE:4: sasl.oauthbearer.token.endpoint.url is no URL with https, http or file; write https://HOST/PATH, or file:///PATH of a file with a token"},
		"relative file":  {tokenHead + "sasl.oauthbearer.token.endpoint.url=file://token\n" + module + ";", "FILE:4: sasl.oauthbearer.token.endpoint.url names no file of this machine by its whole path; write file:///PATH"},
		"no file":        {tokenHead + "sasl.oauthbearer.token.endpoint.url=file:///nowhere/token\n" + module + ";", "FILE:4: sasl.oauthbearer.token.endpoint.url names a file that cannot be read: open /nowhere/token: no such file or directory; correct the path, or let the agent's user read it"},
		"no module":      {tokenHead + endpoint, "FILE: sasl.jaas.config is missing; write " + tokenModule + " required; a JAAS file of the JVM is not read"},
		"another module": {tokenHead + endpoint + "sasl.jaas.config=" + modules[1] + " required username=\"x\" password=\"planted-secret\";", "FILE:5: sasl.jaas.config has the login module " + modules[1] + ", which does not go with OAUTHBEARER; use " + tokenModule},
		"no JAAS":        {tokenHead + endpoint + module + client, `FILE:5: sasl.jaas.config does not end with a semicolon; write ` + tokenModule + ` required clientId="..." clientSecret="...";`},
		"no secret":      {tokenHead + endpoint + module + `clientId="agent";`, `FILE:5: sasl.jaas.config has no clientId or no clientSecret; write clientId="..." clientSecret="..." in it`},
		"extension":      {tokenHead + endpoint + module + client + ` extension_auth="x";`, "FILE:5: sasl.jaas.config has the extension auth, whose name or value RFC 7628 does not allow; use letters for the name, and not `auth`"},
		"own key":        {tokenHead + endpoint + module + client + ` ssl.keystore.location="/x";`, "FILE:5: sasl.jaas.config has the option ssl.keystore.location, which is not supported; remove it: only whom to trust can be said there"},
		"no trust":       {tokenHead + endpoint + module + client + ` ssl.truststore.location="/nowhere";`, "FILE:5: sasl.jaas.config has the option ssl.truststore.location, which cannot be read: open /nowhere: no such file or directory; correct the path, or let the agent's user read it"},
		"placeholder":    {tokenHead + endpoint + module + `clientId="agent" clientSecret="${env:SECRET}";`, "FILE:5: sasl.jaas.config has a placeholder ${...}, which only Kafka's config providers fill in; write a file with the value itself for the agent, which only the agent's user can read"},
	} {
		path := put(t, tt.text+"\n")
		_, err := ReadClient(path)
		if err == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), path, "FILE"); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, tt.want)
		}
		if strings.Contains(err.Error(), "planted") {
			t.Errorf("%s tells a secret: %v", name, err)
		}
	}
}

func TestReadToken(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	hour := jwt(t, now, now.Add(time.Hour))
	late := jwt(t, now.Add(time.Minute), now.Add(time.Hour+time.Minute)) // of a clock that is ahead
	for name, tt := range map[string]struct {
		status int
		body   string
		want   keptToken
		err    string
	}{
		"a JWT":               {200, `{"access_token":"` + hour + `","expires_in":5}`, keptToken{hour, now.Add(48 * time.Minute), now.Add(time.Hour)}, ""},
		"a clock ahead":       {201, `{"access_token":"` + late + `"}`, keptToken{late, now.Add(49 * time.Minute), now.Add(61 * time.Minute)}, ""},
		"opaque":              {200, `{"access_token":"x","expires_in":100}`, keptToken{"x", now.Add(80 * time.Second), now.Add(100 * time.Second)}, ""},
		"opaque, for one use": {200, `{"access_token":"x"}`, keptToken{"x", now, now}, ""},
		"another page":        {200, `<html>`, keptToken{}, "its answer has no access_token; correct the URL: it must be that of the token endpoint"},
		"refused":             {401, `{"error":"invalid_client","error_description":"no such client"}`, keptToken{}, "it answers 401 (invalid_client no such client); correct the client's id, secret and scope, or the URL"},
		"elsewhere":           {302, ``, keptToken{}, "it answers 302; correct the client's id, secret and scope, or the URL"},
	} {
		got, err := readToken(tt.status, []byte(tt.body), now)
		if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err || !got.renew.Equal(tt.want.renew) || !got.until.Equal(tt.want.until) || got.text != tt.want.text {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// A question for a token ends with its context.
func TestTokenEnds(t *testing.T) {
	release := make(chan struct{})
	p := newProvider(t, httptest.NewServer)
	p.answer = func(url.Values, string, string) (int, string) { <-release; return grants("late") }
	defer close(release)
	tokens := tokenOf(t, tokenHead+"sasl.oauthbearer.token.endpoint.url="+p.URL+"\nsasl.jaas.config="+tokenModule+` required clientId="agent" clientSecret="planted-secret";`+"\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := tokens.Token(ctx); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	tokens.turn <- struct{}{} // somebody else asks
	again, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := tokens.Token(again); !errors.Is(err, context.DeadlineExceeded) || !strings.HasSuffix(err.Error(), "while another question for it is on its way") {
		t.Error(err)
	}
}
