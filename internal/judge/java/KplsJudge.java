import java.io.FileInputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.Supplier;

import javax.security.auth.login.AppConfigurationEntry;

import org.apache.kafka.common.config.AbstractConfig;
import org.apache.kafka.common.network.ChannelBuilder;
import org.apache.kafka.common.network.ChannelBuilders;
import org.apache.kafka.common.network.ListenerName;
import org.apache.kafka.common.security.JaasContext;
import org.apache.kafka.common.security.auth.SecurityProtocol;

/**
 * Says whether the Kafka on its class path would start a broker with a server.properties, as far as that can be known
 * without binding a port, asking the network or running classes that are not Kafka's own.
 *
 * Arguments: the file, then KEY=VALUE for each --override. Standard output has one line of JSON; Kafka's own words are
 * in it, and may hold secrets. It builds Kafka's configuration, and the channel builder of each listener and of each
 * connection to other brokers and controllers, as kafka.network.SocketServer does. Java 8; what differs between
 * Kafka's versions is found by reflection.
 */
public final class KplsJudge {
    private static final String KAFKAS = "org.apache.kafka.";
    /** The ends of names whose values are classes, and what these must be. The first one that is there counts. */
    private static final String[][] PLUGINS = {
        {"principal.builder.class", "org.apache.kafka.common.security.auth.KafkaPrincipalBuilder"},
        {"callback.handler.class", "org.apache.kafka.common.security.auth.AuthenticateCallbackHandler"},
        {"sasl.login.class", "org.apache.kafka.common.security.auth.Login"},
        {"ssl.engine.factory.class", "org.apache.kafka.common.security.auth.SslEngineFactory"},
        {"security.providers", "org.apache.kafka.common.security.auth.SecurityProviderCreator"},
        {"authorizer.class.name", "org.apache.kafka.server.authorizer.Authorizer"},
        {"metric.reporters", "org.apache.kafka.common.metrics.MetricsReporter"},
        {"create.topic.policy.class.name", "org.apache.kafka.server.policy.CreateTopicPolicy"},
        {"alter.config.policy.class.name", "org.apache.kafka.server.policy.AlterConfigPolicy"},
        {"client.quota.callback.class", "org.apache.kafka.server.quota.ClientQuotaCallback"},
        {"replica.selector.class", "org.apache.kafka.common.replica.ReplicaSelector"},
    };

    private final Properties file = new Properties();
    private final List<Map<String, String>> refused = new ArrayList<>();
    private final List<Map<String, String>> unjudged = new ArrayList<>();
    private AbstractConfig config;

    private KplsJudge() {
    }

    /** Ends with 0 when it has a verdict, whichever. */
    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err); // Kafka may print
        KplsJudge judge = new KplsJudge();
        judge.judge(args);
        out.println(judge.verdict());
        out.flush();
        Runtime.getRuntime().halt(0); // a login may have left threads
    }

    private void judge(String[] args) throws Exception {
        try (InputStream in = new FileInputStream(args[0])) {
            file.load(in);
        }
        for (int i = 1; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            file.setProperty(pair[0].trim(), pair.length < 2 ? "" : pair[1].trim());
        }
        if (foreignProviders()) {
            return;
        }
        try {
            config = kafkaConfig(file);
        } catch (Throwable e) {
            refuse("", e);
            return;
        }
        plugins();
        listeners();
    }

    /** Values that only a class of others can find: nothing that has them can be judged. */
    private boolean foreignProviders() {
        boolean foreign = false;
        for (String name : items(file.getProperty("config.providers"))) {
            String type = file.getProperty("config.providers." + name + ".class", "").trim();
            if (!type.startsWith(KAFKAS)) {
                unjudged("", "config provider " + name + " is " + type + ", which is not run");
                foreign = true;
            }
        }
        return foreign;
    }

    private static AbstractConfig kafkaConfig(Properties properties) throws Throwable {
        Method from = Class.forName("kafka.server.KafkaConfig").getMethod("fromProps", Properties.class, boolean.class);
        return (AbstractConfig) call(from, null, properties, false);
    }

    /** Loads the classes of others and looks what they are. They are not configured. */
    private void plugins() {
        for (Map.Entry<String, Object> e : new TreeMap<>(config.originals()).entrySet()) {
            String[] kind = kindOf(e.getKey());
            if (kind == null) {
                continue;
            }
            for (String name : items(String.valueOf(e.getValue()))) {
                try {
                    Class<?> type = load(name);
                    Class<?> wanted = Class.forName(kind[1]);
                    if (!wanted.isAssignableFrom(type)) {
                        refuse(e.getKey(), "class " + name + " is no " + wanted.getName());
                    }
                } catch (ClassNotFoundException | LinkageError missing) {
                    refuse(e.getKey(), "class " + name + " cannot be loaded: " + words(missing));
                }
            }
        }
    }

    private static String[] kindOf(String key) {
        for (String[] kind : PLUGINS) {
            if (key.equals(kind[0]) || key.endsWith("." + kind[0])) {
                return kind;
            }
        }
        return null;
    }

    private static Class<?> load(String name) throws ClassNotFoundException {
        return Class.forName(name, false, KplsJudge.class.getClassLoader());
    }

    private void listeners() throws Exception {
        String between = optional("interBrokerListenerName");
        List<String> controllers = items(list(config.values().get("controller.listener.names")));
        Map<String, SecurityProtocol> protocols = protocols();
        List<String> served = new ArrayList<>();
        for (String endpoint : items(list(config.values().get("listeners")))) {
            int end = endpoint.indexOf("://");
            if (end > 0) {
                served.add(endpoint.substring(0, end).toUpperCase(Locale.ROOT));
            }
        }
        for (String name : served) {
            channel(name, protocols.get(name), name.equals(between), null);
        }
        if (between != null && served.contains(between)) {
            channel(between, protocols.get(between), true, "sasl.mechanism.inter.broker.protocol");
        }
        if (!controllers.isEmpty()) {
            String first = controllers.get(0).toUpperCase(Locale.ROOT);
            channel(first, protocols.get(first), true, "sasl.mechanism.controller.protocol");
        }
    }

    private Map<String, SecurityProtocol> protocols() throws Exception {
        Map<String, SecurityProtocol> out = new LinkedHashMap<>();
        Object map;
        try {
            map = config.getClass().getMethod("effectiveListenerSecurityProtocolMap").invoke(config);
        } catch (InvocationTargetException e) {
            refuse("listener.security.protocol.map", e);
            return out;
        }
        if (map instanceof Map) {
            for (Map.Entry<?, ?> e : ((Map<?, ?>) map).entrySet()) {
                out.put(((ListenerName) e.getKey()).value(), (SecurityProtocol) e.getValue());
            }
            return out;
        }
        Object i = get(map, "iterator"); // Scala's, up to Kafka 4.0
        while ((Boolean) get(i, "hasNext")) {
            Object pair = get(i, "next");
            out.put(((ListenerName) get(pair, "_1")).value(), (SecurityProtocol) get(pair, "_2"));
        }
        return out;
    }

    /** The name that a method of the configuration tells, or null. */
    private String optional(String method) {
        try {
            return ((ListenerName) config.getClass().getMethod(method).invoke(config)).value();
        } catch (ReflectiveOperationException | RuntimeException e) {
            return null;
        }
    }

    /** Builds what a listener, or with a client's mechanism what connections to it, are made by. */
    private void channel(String name, SecurityProtocol protocol, boolean between, String mechanismKey) {
        if (protocol == null || protocol == SecurityProtocol.PLAINTEXT && mechanismKey != null) {
            return;
        }
        ListenerName listener = new ListenerName(name);
        String prefix = listener.configPrefix();
        Map<String, Object> values;
        try {
            values = config.valuesWithPrefixOverride(prefix);
        } catch (Throwable e) {
            refuse(name, e);
            return;
        }
        boolean tls = protocol == SecurityProtocol.SSL || protocol == SecurityProtocol.SASL_SSL;
        boolean sasl = protocol == SecurityProtocol.SASL_PLAINTEXT || protocol == SecurityProtocol.SASL_SSL;
        Properties own = new Properties();
        own.putAll(file);
        Collection<?> creators = tls ? items(list(values.get("security.providers"))) : Collections.emptyList();
        if (!creators.isEmpty() || tls && foreign(values.get("ssl.engine.factory.class"))) {
            unjudged(name, "its TLS is made by a class that is not Kafka's and is not run");
            return;
        }
        if (foreign(values.get("principal.builder.class"))) {
            own.remove("principal.builder.class");
            own.remove(prefix + "principal.builder.class");
        }
        String client = mechanismKey == null ? null : String.valueOf(config.values().get(mechanismKey));
        if (sasl) {
            List<String> left = new ArrayList<>();
            List<String> enabled = client != null ? Collections.singletonList(client) : items(list(values.get("sasl.enabled.mechanisms")));
            for (String mechanism : enabled) {
                if (known(listener, mechanism, values)) {
                    left.add(mechanism);
                }
            }
            if (left.isEmpty() && !enabled.isEmpty()) {
                return; // nothing is left to build, and why was said
            }
            if (client == null && left.size() < enabled.size()) {
                own.setProperty(prefix + "sasl.enabled.mechanisms", String.join(",", left));
            }
        }
        AbstractConfig edited = config;
        if (!own.equals(file)) {
            try {
                edited = kafkaConfig(own);
            } catch (Throwable e) {
                unjudged(name, "without the classes that are not run its configuration is not whole: " + words(e));
                return;
            }
        }
        try {
            build(edited, listener, protocol, between, client).close();
        } catch (Throwable e) {
            refuse(name, e);
        }
    }

    /** True if Kafka's own classes alone make this mechanism, without the network. What is wrong with its entry is said. */
    private boolean known(ListenerName listener, String mechanism, Map<String, Object> values) {
        String name = listener.value();
        JaasContext context;
        try {
            context = JaasContext.loadServerContext(listener, mechanism, values);
        } catch (Throwable e) {
            refuse(name, e);
            return false;
        }
        for (AppConfigurationEntry entry : context.configurationEntries()) {
            String module = entry.getLoginModuleName();
            try {
                if (!javax.security.auth.spi.LoginModule.class.isAssignableFrom(load(module))) {
                    refuse(name, "class " + module + " of the JAAS entry for " + mechanism + " is no LoginModule");
                    return false;
                }
            } catch (ClassNotFoundException | LinkageError missing) {
                refuse(name, "class " + module + " of the JAAS entry for " + mechanism + " cannot be loaded: " + words(missing));
                return false;
            }
            if (!module.startsWith(KAFKAS) && !mechanism.equals("GSSAPI")) {
                unjudged(name, mechanism + " uses the login module " + module + ", which is not run");
                return false;
            }
        }
        if (mechanism.equals("GSSAPI")) {
            unjudged(name, "GSSAPI logs in over the network");
            return false;
        }
        String scope = mechanism.toLowerCase(Locale.ROOT) + ".";
        for (String key : new String[] {"sasl.server.callback.handler.class", "sasl.login.callback.handler.class", "sasl.login.class"}) {
            Object type = values.containsKey(scope + key) ? values.get(scope + key) : config.originals().get(listener.configPrefix() + scope + key);
            if (type == null) {
                type = values.get(key);
            }
            if (foreign(type)) {
                unjudged(name, mechanism + " uses the class " + className(type) + ", which is not run");
                return false;
            }
        }
        Object keys = values.get("sasl.oauthbearer.jwks.endpoint.url");
        if (mechanism.equals("OAUTHBEARER") && keys != null && String.valueOf(keys).trim().toLowerCase(Locale.ROOT).startsWith("http")) {
            unjudged(name, "OAUTHBEARER fetches keys over the network");
            return false;
        }
        return true;
    }

    private static boolean foreign(Object type) {
        String name = className(type);
        return !name.isEmpty() && !name.startsWith(KAFKAS);
    }

    private static String className(Object type) {
        return type == null ? "" : type instanceof Class ? ((Class<?>) type).getName() : String.valueOf(type).trim();
    }

    /** Calls Kafka's factory of channel builders: its parameters are found by their types. */
    private static ChannelBuilder build(
        AbstractConfig config, ListenerName listener, SecurityProtocol protocol, boolean between, String client
    ) throws Throwable {
        String wanted = client == null ? "serverChannelBuilder" : "clientChannelBuilder";
        for (Method m : ChannelBuilders.class.getMethods()) {
            if (!m.getName().equals(wanted)) {
                continue;
            }
            Object[] arguments = new Object[m.getParameterCount()];
            for (int i = 0; i < arguments.length; i++) {
                arguments[i] = argument(m.getParameterTypes()[i], config, listener, protocol, between, client);
            }
            return (ChannelBuilder) call(m, null, arguments);
        }
        throw new NoSuchMethodException(wanted);
    }

    private static Object argument(
        Class<?> type, AbstractConfig config, ListenerName listener, SecurityProtocol protocol, boolean between, String client
    ) throws Exception {
        if (type == boolean.class) {
            return client != null || between; // a client's is whether it begins with a SASL handshake
        } else if (type == SecurityProtocol.class) {
            return protocol;
        } else if (type == AbstractConfig.class) {
            return config;
        } else if (type == ListenerName.class) {
            return listener;
        } else if (type == JaasContext.Type.class) {
            return JaasContext.Type.SERVER;
        } else if (type == String.class) {
            return client;
        } else if (type == Supplier.class) {
            return (Supplier<Object>) () -> null;
        } else if (type == Function.class) {
            return (Function<Object, Object>) version -> null;
        } else if (type.getSimpleName().equals("Time")) {
            return Class.forName(type.getName()).getField("SYSTEM").get(null);
        } else if (type.getSimpleName().equals("DelegationTokenCache")) {
            return type.getConstructor(Collection.class).newInstance(Collections.emptyList());
        }
        return type.getConstructor().newInstance();
    }

    /** What a public method of one of Scala's interfaces tells, whose class may be hidden. */
    private static Object get(Object of, String method) throws ReflectiveOperationException {
        Method m = of.getClass().getMethod(method);
        m.setAccessible(true);
        return m.invoke(of);
    }

    private static Object call(Method m, Object on, Object... arguments) throws Throwable {
        try {
            return m.invoke(on, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    /** A list as Kafka parsed it, or as it was written, in the form in which it is written. */
    private static String list(Object value) {
        if (value instanceof Collection) {
            List<String> texts = new ArrayList<>();
            for (Object o : (Collection<?>) value) {
                texts.add(String.valueOf(o));
            }
            return String.join(",", texts);
        }
        return value == null ? "" : String.valueOf(value);
    }

    private static List<String> items(String list) {
        List<String> out = new ArrayList<>();
        for (String item : (list == null ? "" : list).split(",")) {
            if (!item.trim().isEmpty()) {
                out.add(item.trim());
            }
        }
        return out;
    }

    private void refuse(String where, Throwable e) {
        refuse(where, words(e));
    }

    private void refuse(String where, String text) {
        note(refused, where, text);
    }

    private void unjudged(String where, String text) {
        note(unjudged, where, text);
    }

    private static void note(List<Map<String, String>> list, String where, String text) {
        Map<String, String> entry = new LinkedHashMap<>();
        entry.put("at", where);
        entry.put("text", text);
        if (!list.contains(entry)) {
            list.add(entry);
        }
    }

    /** The messages of an error and its causes, each once. */
    private static String words(Throwable e) {
        StringBuilder out = new StringBuilder();
        for (Throwable t = e; t != null; t = t.getCause()) {
            String text = t.getMessage();
            boolean bare = text == null || t instanceof java.io.IOException || t instanceof LinkageError || t instanceof ClassNotFoundException;
            if (text == null) {
                text = "";
            }
            if (bare || t.getClass().getName().startsWith("java.security")) {
                text = t.getClass().getSimpleName() + (text.isEmpty() ? "" : " " + text);
            }
            if (out.indexOf(text) < 0) {
                out.append(out.length() == 0 ? "" : ": ").append(text);
            }
        }
        return out.toString();
    }

    private String verdict() {
        StringBuilder out = new StringBuilder("{\"kpls_judge\":1,\"kafka\":");
        quote(out, version());
        quote(out.append(",\"java\":"), System.getProperty("java.version"));
        entries(out.append(",\"refused\":"), refused);
        entries(out.append(",\"unjudged\":"), unjudged);
        return out.append('}').toString();
    }

    private static String version() {
        Properties p = new Properties();
        try (InputStream in = ClassLoader.getSystemResourceAsStream("kafka/kafka-version.properties")) {
            p.load(in);
        } catch (Exception unknown) {
            return "";
        }
        return p.getProperty("version", "");
    }

    private static void entries(StringBuilder out, List<Map<String, String>> list) {
        out.append('[');
        for (Map<String, String> entry : list) {
            out.append(out.charAt(out.length() - 1) == '[' ? "" : ",").append("{\"at\":");
            quote(out, entry.get("at"));
            quote(out.append(",\"text\":"), entry.get("text"));
            out.append('}');
        }
        out.append(']');
    }

    private static void quote(StringBuilder out, String text) {
        out.append('"');
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\' || c < ' ' || c > '~') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }
}
