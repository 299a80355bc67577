import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Map;
import java.util.TreeMap;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.config.SaslConfigs;
import org.apache.kafka.common.config.types.Password;
import org.apache.kafka.common.security.JaasContext;

/**
 * Answers what Kafka's own client makes of a sasl.jaas.config. One request a line, in base64. One answer a line:
 * "refused", or "ok" and in base64 the class of the login module, then names and values of its options, by name.
 */
public class Jaas {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line; (line = in.readLine()) != null; ) {
            String text = new String(Base64.getDecoder().decode(line), StandardCharsets.UTF_8);
            StringBuilder answer = new StringBuilder("ok");
            try {
                JaasContext context = JaasContext.loadClientContext(Map.of(SaslConfigs.SASL_JAAS_CONFIG, new Password(text)));
                AppConfigurationEntry entry = context.configurationEntries().get(0);
                answer.append(' ').append(encode(entry.getLoginModuleName()));
                new TreeMap<String, Object>(entry.getOptions()).forEach((k, v) -> answer.append(' ').append(encode(k)).append(' ').append(encode((String) v)));
            } catch (RuntimeException e) {
                answer.setLength(0);
                answer.append("refused");
            }
            System.out.println(answer);
        }
    }

    static String encode(String s) {
        return Base64.getEncoder().encodeToString(s.getBytes(StandardCharsets.UTF_8));
    }
}
