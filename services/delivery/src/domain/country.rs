//! Countries and territories by their ISO 3166-1 alpha-2 codes, in alphabetical order, and what their
//! addresses consist of.

const CODES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN \
    BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ \
    EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM \
    HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK \
    LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG \
    NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG \
    SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM \
    US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// Countries whose addresses always have a postal code. Elsewhere there are none, or people often leave them
/// out (Ireland). From Google's address data for forms (libaddressinput, `require` with Z).
const WITH_POSTAL_CODE: &str = "AS AT AU AX BE BL BR CA CH CN CZ DE DK EE ES FI FK FM FR GB GF GG GL GP GR GS GU HU \
    IM IN IO IT JE JP KR LI LT LU LV MF MH MP MQ MX MY NC NL NO NZ PF PL PM PN PR PT PW RE RO RU SE SG SH SJ SK SM \
    TC TR TW UA US VI WF YT ZA";

/// Countries where an address needs no city: the country is one, or the region names it. From the same source
/// (`require` without C).
const WITHOUT_CITY: &str = "AE AG CO GI HK ID JP KY MO NR SG SM VG";

pub(super) fn needs_postal_code(code: &str) -> bool {
    WITH_POSTAL_CODE.split_whitespace().any(|known| known == code)
}

pub(super) fn has_cities(code: &str) -> bool {
    WITHOUT_CITY.split_whitespace().all(|known| known != code)
}

pub(super) fn is_code(code: &str) -> bool {
    code.len() == 2 && CODES.split_whitespace().any(|known| known == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_249_codes_in_order() {
        let codes: Vec<_> = CODES.split_whitespace().collect();
        assert_eq!(codes.len(), 249);
        assert!(codes.is_sorted());
        for codes in [WITH_POSTAL_CODE, WITHOUT_CITY] {
            assert!(codes.split_whitespace().is_sorted() && codes.split_whitespace().all(is_code));
        }
        assert!(is_code("KR") && !is_code("kr") && !is_code("XX") && !is_code("") && !is_code("KR DE"));
    }
}
