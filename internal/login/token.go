package login

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/kpls-agent/internal/config"
)

// OAuthBearer is the SASL mechanism that logs in with a token.
const OAuthBearer = "OAUTHBEARER"

// The properties of a login with a token (SaslConfigs; KIP-768, KIP-1139).
const (
	keyHandler   = "sasl.login.callback.handler.class"
	keyRetriever = "sasl.oauthbearer.jwt.retriever.class"
	keyEndpoint  = "sasl.oauthbearer.token.endpoint.url"
	keyClientID  = "sasl.oauthbearer.client.credentials.client.id"
	keyClientKey = "sasl.oauthbearer.client.credentials.client.secret"
	keyScope     = "sasl.oauthbearer.scope"
	keyURLEncode = "sasl.oauthbearer.header.urlencode"
)

const (
	tokenModule     = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
	extensionPrefix = "extension_" // of an option of the module

	tokenHandler    = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler"
	tokenHandlerOld = "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler" // up to 3.9
)

// handlers and retrievers are those whose work this package does.
var (
	handlers   = []string{tokenHandler, tokenHandlerOld}
	retrievers = []string{
		"org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
		"org.apache.kafka.common.security.oauthbearer.ClientCredentialsJwtRetriever",
		"org.apache.kafka.common.security.oauthbearer.FileJwtRetriever",
	}
)

const (
	// tokenTimeout bounds the question for a token.
	tokenTimeout = 5 * time.Second
	// tokenLimit bounds the answer, in bytes.
	tokenLimit = 256 << 10
	// tokenShare of its life is how long a token is used before another one is asked
	// for (sasl.login.refresh.window.factor); for tokenSpare before its end it is used
	// no more.
	tokenShare = 0.8
	tokenSpare = 10 * time.Second
)

// tokenSource is where a token comes from.
type tokenSource struct {
	file     string // with the token in it; empty for an endpoint
	endpoint string // URL of the token endpoint
	name     string // the same without what may be secret in it
	id       string
	secret   string
	scope    string
	encoded  bool // id and secret are URL-encoded in the header
	roots    string
	tls      *tls.Config
	// extensions go along with the token.
	extensions map[string]string
}

// source reads where a token comes from.
func (f *file) source() (*tokenSource, error) {
	if err := f.tokenClasses(); err != nil {
		return nil, err
	}
	m, err := f.tokenModule()
	if err != nil {
		return nil, err
	}
	s := &tokenSource{extensions: map[string]string{}, encoded: strings.EqualFold(f.get(keyURLEncode), "true")}
	for _, name := range slices.Sorted(maps.Keys(m.Options)) {
		if key, is := strings.CutPrefix(name, extensionPrefix); is {
			if !isExtension(key) || strings.ContainsAny(m.Options[name], "\x00\x01") {
				return nil, f.fault(keyJAAS, "has the extension "+key+", whose name or value RFC 7628 does not allow",
					"use letters for the name, and not `auth`")
			}
			s.extensions[key] = m.Options[name]
		}
	}
	at, err := url.Parse(f.get(keyEndpoint))
	switch {
	case f.get(keyEndpoint) == "":
		return nil, f.fault(keyEndpoint, "is missing",
			"write the URL of the token endpoint there, or file:///PATH of a file with a token")
	case err != nil,
		at.Scheme != "file" && at.Host == "",
		!slices.Contains([]string{"file", "http", "https"}, at.Scheme):
		return nil, f.fault(keyEndpoint, "is no URL with https, http or file",
			"write https://HOST/PATH, or file:///PATH of a file with a token")
	case at.Scheme == "file" && (at.Host != "" || !filepath.IsAbs(at.Path)):
		return nil, f.fault(keyEndpoint, "names no file of this machine by its whole path", "write file:///PATH")
	case at.Scheme == "file":
		s.file = at.Path
		return s, nil
	}
	s.endpoint, s.name = at.String(), (&url.URL{Scheme: at.Scheme, Host: at.Host, Path: at.Path}).String()
	first := func(key, option string) string {
		if v := f.get(key); v != "" {
			return v
		}
		return strings.TrimSpace(m.Options[option])
	}
	s.id, s.secret, s.scope = first(keyClientID, "clientId"), first(keyClientKey,
		"clientSecret"), first(keyScope, "scope")
	if s.id == "" || s.secret == "" {
		return nil, f.fault(keyJAAS, "has no clientId or no clientSecret",
			`write clientId="..." clientSecret="..." in it`)
	}
	if at.Scheme == "https" {
		return s, f.endpointTLS(s, m.Options)
	}
	return s, nil
}

// tokenClasses refuses classes whose work is not known.
func (f *file) tokenClasses() error {
	switch handler := f.get(keyHandler); {
	case handler == "":
		return f.fault(keyHandler, "is missing, with which Kafka's clients make an unsecured token of their own",
			"write "+tokenHandler)
	case !slices.Contains(handlers, handler):
		return f.fault(keyHandler, "names a Java class, which the agent cannot run",
			"use "+tokenHandler+", or name another listener of the brokers as kafka.listener")
	}
	if class := f.get(keyRetriever); class != "" && !slices.Contains(retrievers, class) {
		return f.fault(keyRetriever, "names a Java class, which the agent cannot run",
			"use "+retrievers[1]+" or "+retrievers[2])
	}
	return nil
}

// tokenModule returns the login module, with no options where the properties alone say all (Kafka 4.1).
func (f *file) tokenModule() (config.JAASModule, error) {
	if f.get(keyJAAS) == "" {
		return config.JAASModule{}, f.fault(keyJAAS, "is missing",
			"write "+tokenModule+" required; a JAAS file of the JVM is not read")
	}
	m, err := config.ParseJAAS(f.get(keyJAAS))
	if err != nil {
		return m, f.wrap(keyJAAS, "",
			fmt.Errorf("%w; write %s required clientId=\"...\" clientSecret=\"...\";", err, tokenModule))
	}
	if m.Class != tokenModule {
		return m, f.fault(keyJAAS,
			fmt.Sprintf("has the login module %s, which does not go with %s", m.Class, OAuthBearer), "use "+tokenModule)
	}
	return m, nil
}

// endpointTLS reads whom to trust as the endpoint: options of the module, by the
// names that they have as properties of the client (JaasOptionsUtils).
func (f *file) endpointTLS(s *tokenSource, options map[string]string) error {
	s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	for _, key := range []string{keyStore, keyStoreKey, "ssl.engine.factory.class"} {
		if options[key] != "" {
			return f.fault(keyJAAS, "has the option "+key+", which is not supported",
				"remove it: only whom to trust can be said there")
		}
	}
	if text := options[keyTrustText]; text != "" {
		pool, err := roots(pemLines(text), passwords{})
		s.tls.RootCAs = pool
		return f.wrap(keyJAAS, "", err)
	}
	s.roots = options[keyTrust]
	switch {
	case s.roots == "":
		return nil
	case !filepath.IsAbs(s.roots):
		return f.fault(keyJAAS, "has the option "+keyTrust+", which is relative to wherever a program is started",
			"write the whole path")
	}
	data, err := os.ReadFile(s.roots)
	if err != nil {
		return f.fault(keyJAAS, "has the option "+keyTrust+", which cannot be read: "+err.Error(),
			"correct the path, or let the agent's user read it")
	}
	s.tls.RootCAs, err = roots(data, passwords{store: options[keyTrustPassword]})
	return f.wrap(keyJAAS, s.roots, err)
}

// isExtension is true for the name of a SASL extension (OAuthBearerClientInitialResponse).
func isExtension(name string) bool {
	return name != "" && name != "auth" &&
		!strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
}

// Tokens gives the token of a client.properties. What the file says is read again
// each time; a token of an endpoint is kept until four fifths of its life are over,
// and until its end while the endpoint gives no other one.
type Tokens struct {
	path string

	turn chan struct{} // taken through a question: one is enough for all who wait
	with string        // what the kept one was asked with
	kept keptToken
}

type keptToken struct {
	text  string
	renew time.Time // another one is asked for from then on
	until time.Time // it is of no use any more
}

// NewTokens returns the tokens of a client.properties.
func NewTokens(c *Client) *Tokens { return &Tokens{path: c.Path, turn: make(chan struct{}, 1)} }

// Token returns a token for a login now, and the extensions that go along with it.
func (t *Tokens) Token(ctx context.Context) (token string, extensions map[string]string, err error) {
	f, err := read(t.path)
	if err != nil {
		return "", nil, err
	}
	s, err := f.source()
	if err != nil {
		return "", nil, err
	}
	if s.file != "" {
		token, err = s.fromFile(time.Now())
		return token, s.extensions, err
	}
	token, err = t.fromEndpoint(ctx, s)
	return token, s.extensions, err
}

// From names what decides about the next token: the one in the file, or where and as
// whom the endpoint is asked. It has secrets in it.
func (t *Tokens) From() (string, error) {
	f, err := read(t.path)
	if err != nil {
		return "", err
	}
	s, err := f.source()
	if err != nil {
		return "", err
	}
	from := s.with()
	if s.file != "" {
		if from, err = s.fromFile(time.Now()); err != nil {
			return "", err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.extensions)) {
		from += "\x00" + name + "\x00" + s.extensions[name]
	}
	return from, nil
}

// Forget drops the kept token, which a broker has refused: the endpoint may give another
// one now. A question that is on its way brings one anyway.
func (t *Tokens) Forget() {
	select {
	case t.turn <- struct{}{}:
		t.with, t.kept = "", keptToken{}
		<-t.turn
	default:
	}
}

// with is what an endpoint is asked with.
func (s *tokenSource) with() string {
	return strings.Join([]string{s.endpoint, s.id, s.secret, s.scope}, "\x00")
}

func (s *tokenSource) fromFile(now time.Time) (string, error) {
	data, err := os.ReadFile(s.file)
	if err != nil {
		return "", fmt.Errorf("read the token: %w; name a readable file as %s", err, keyEndpoint)
	}
	token := strings.TrimSpace(string(data))
	switch _, until := lifeOf(token); {
	case token == "":
		return "", fmt.Errorf("read the token: %s is empty; write a token into it", s.file)
	case !until.IsZero() && !now.Before(until):
		return "", fmt.Errorf(
			"the token in %s has expired at %s; see to what renews it: it is read again for each connection", s.file,
			until.UTC().Format(time.RFC3339))
	}
	return token, nil
}

func (t *Tokens) fromEndpoint(ctx context.Context, s *tokenSource) (string, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", fmt.Errorf("ask %s for a token: %w while another question for it is on its way", s.name, ctx.Err())
	}
	with := s.with()
	now := time.Now()
	have := t.with == with
	if have && now.Before(t.kept.renew) {
		return t.kept.text, nil
	}
	fresh, err := s.ask(ctx, now)
	switch {
	case err == nil:
		t.with, t.kept = with, fresh
		return fresh.text, nil
	case have && now.Before(t.kept.until.Add(-tokenSpare)):
		return t.kept.text, nil
	}
	return "", fmt.Errorf("ask %s for a token: %w", s.name, err)
}

// ask is the client credentials grant (RFC 6749, section 4.4), with the header and
// the body of Kafka's own client.
func (s *tokenSource) ask(ctx context.Context, now time.Time) (keptToken, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}}
	if s.scope != "" {
		form.Set("scope", s.scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return keptToken{}, errors.New("the URL cannot be used; correct " + keyEndpoint)
	}
	id, secret := s.id, s.secret
	if s.encoded {
		id, secret = url.QueryEscape(id), url.QueryEscape(secret)
	}
	req.SetBasicAuth(id, secret)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	transport := &http.Transport{TLSClientConfig: s.tls, DisableKeepAlives: true}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		if e, is := errors.AsType[*url.Error](err); is { // it repeats the URL
			err = e.Err
		}
		return keptToken{}, fmt.Errorf(
			"%w; see that the token endpoint can be reached from here, and whom sasl.jaas.config trusts (ssl.truststore.location)",
			err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, tokenLimit))
	if err != nil {
		return keptToken{}, err
	}
	return readToken(resp.StatusCode, body, now)
}

// readToken reads the answer of an endpoint.
func readToken(status int, body []byte, now time.Time) (keptToken, error) {
	var answer struct {
		Token       string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"` // seconds
		Error       string  `json:"error"`
		Description string  `json:"error_description"`
	}
	err := json.Unmarshal(body, &answer)
	if status != http.StatusOK && status != http.StatusCreated {
		text := strings.TrimSpace(answer.Error + " " + answer.Description)
		if text != "" {
			text = " (" + text + ")"
		}
		return keptToken{}, fmt.Errorf("it answers %d%s; correct the client's id, secret and scope, or the URL", status,
			text)
	}
	if err != nil || answer.Token == "" {
		return keptToken{}, errors.New(
			"its answer has no access_token; correct the URL: it must be that of the token endpoint")
	}
	k := keptToken{text: answer.Token, until: now.Add(time.Duration(answer.ExpiresIn * float64(time.Second)))}
	begin := now
	if issued, until := lifeOf(answer.Token); !until.IsZero() {
		k.until = until
		if issued.After(begin) {
			begin = issued // its clock is ahead of ours
		}
	}
	k.renew = begin.Add(time.Duration(float64(k.until.Sub(begin)) * tokenShare))
	return k, nil
}

// lifeOf reads from a JSON Web Token when it was issued and when it ends, by the
// clock of who issued it; zero for what it does not say, and for other tokens.
func lifeOf(token string) (issued, until time.Time) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return issued, until
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return issued, until
	}
	var claims struct {
		Issued float64 `json:"iat"` // seconds since the epoch
		Until  float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return issued, until
	}
	at := func(seconds float64) time.Time {
		if seconds <= 0 || seconds > 1<<40 {
			return time.Time{}
		}
		return time.Unix(int64(seconds), 0)
	}
	return at(claims.Issued), at(claims.Until)
}
